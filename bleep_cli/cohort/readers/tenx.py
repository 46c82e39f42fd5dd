"""10x Genomics' matrices of counts: the HDF5 file, of Cell Ranger 2 too, and the three text files of a matrix."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.cohort.readers.join import join
from bleep_cli.cohort.readers.plane import factors_beside
from bleep_cli.cohort.readers.reader import LIBRARY, POSITIONS, Counted, RawSection, Reader, Source
from bleep_cli.errors import ReferenceError
from bleep_cli.genes.features import Features
from bleep_cli.tiles.positions import read_positions

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

MATRIX = re.compile(r"matrix\.mtx(\.gz)?$")
FEATURES, BARCODES = ("features.tsv", "genes.tsv"), ("barcodes.tsv",)
PACKED = ("", ".gz")


def tenx(path: Path) -> Counted:
    """A matrix: an HDF5 file, ``matrix.mtx``, or a folder with one.

    Raises ``ReferenceError``, ``OSError``, ``ValueError`` or ``KeyError`` for what is none.
    """
    if path.is_dir():
        return tenx_mtx(_matrix_of(path))
    return tenx_mtx(path) if MATRIX.search(path.name) else tenx_h5(path)


def _matrix_of(folder: Path) -> Path:
    found = sorted(file for file in folder.iterdir() if MATRIX.search(file.name))
    if len(found) != 1:
        names = ", ".join(file.name for file in found)
        raise ReferenceError(f"{folder.name} has {len(found)} files *matrix.mtx; name one of {names}" if found else
                         f"{folder.name} has no file matrix.mtx or matrix.mtx.gz")  # fmt: skip
    return found[0]


def tenx_mtx(path: Path) -> Counted:
    """``*matrix.mtx`` with ``*features.tsv`` or ``*genes.tsv`` and ``*barcodes.tsv`` beside it, packed or not."""
    from scipy.io import mmread

    features, barcodes = (_beside(path, names) for names in (FEATURES, BARCODES))
    matrix = mmread(path, spmatrix=True).tocsr()
    shape = (len(features), len(barcodes))
    for table in (features, barcodes):
        if len(table) - 1 in matrix.shape and len(table) not in matrix.shape:
            table.drop(index=0, inplace=True)  # a header, which 10x does not write
    shape = (len(features), len(barcodes))
    if matrix.shape not in (shape, shape[::-1]):
        raise ReferenceError(f"matrix of {matrix.shape} against {shape[0]} features, {shape[1]} barcodes")
    columns = [features[i].to_numpy(dtype=str) for i in features.columns]
    named = Features(columns[0], columns[min(1, len(columns) - 1)], columns[2] if len(columns) > 2 else None)
    counts = matrix.T.tocsr() if matrix.shape == shape else matrix
    return Counted(counts, named, barcodes[0].to_numpy(dtype=str))


def _beside(matrix: Path, names: Iterable[str]) -> pd.DataFrame:
    import pandas as pd

    prefix = MATRIX.sub("", matrix.name)
    places = [matrix.with_name(f"{prefix}{name}{end}") for name in names for end in PACKED]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ReferenceError(f"no {' or '.join(place.name for place in places[::2])} beside {matrix.name}")
    return pd.read_csv(path, sep="\t", header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def tenx_h5(path: Path) -> Counted:
    """The HDF5 file: group ``matrix`` of Cell Ranger 3 and later, a group a genome before."""
    import h5py
    from scipy import sparse

    path.stat()  # h5py's own error would tell the whole of the path
    with h5py.File(path) as file:
        if "matrix" in file:
            matrix = file["matrix"]
            features = matrix["features"]
            ids, names, types, genomes = (
                _strings(features.get(k)) for k in ("id", "name", "feature_type", "genome")
            )
            if ids is None or names is None:
                raise KeyError("features/id or features/name")
            return Counted(_csr(matrix), Features(ids, names, types, genomes), _strings(matrix["barcodes"]))
        parts = {genome: group for genome, group in file.items() if "gene_names" in group}
        if not parts:
            raise ReferenceError(f"{path.name} is no matrix of 10x's: it has no group matrix, nor one of a genome")
        barcodes = np.unique(np.concatenate([_strings(group["barcodes"]) for group in parts.values()]))
        counts = []
        for group in parts.values():
            own = _csr(group).tocoo()
            rows = np.searchsorted(barcodes, _strings(group["barcodes"]))[own.row]
            counts.append(sparse.csr_matrix((own.data, (rows, own.col)), shape=(len(barcodes), own.shape[1])))
        ids, names = (
            np.concatenate([_strings(group[key]) for group in parts.values()]) for key in ("genes", "gene_names")
        )
        genomes = np.repeat(list(parts), [len(group["genes"]) for group in parts.values()])
        return Counted(sparse.hstack(counts, format="csr"), Features(ids, names, None, genomes), barcodes)


def _strings(data: Any) -> Any:
    return None if data is None else data.asstr()[:].astype(str)


def _csr(group: Any) -> sparse.csr_matrix:
    """A group of HDF5 holds features × barcodes by columns, which is barcodes × features by rows."""
    from scipy import sparse

    arrays = (group["data"][:], group["indices"][:], group["indptr"][:])
    return sparse.csr_matrix(arrays, shape=tuple(group["shape"][:][::-1]))


def read_tenx(source: Source) -> RawSection:
    """A matrix with a table of positions."""
    positions = source.file("positions")
    library = source.entry.get("library")
    return join(tenx(source.path), read_positions(positions), library, factors=factors_beside(positions))


def is_tenx(path: Path) -> bool:
    """Whether a file or folder is a matrix as 10x writes it."""
    if path.is_dir():
        return any(MATRIX.search(file.name) for file in path.iterdir())
    return bool(MATRIX.search(path.name)) or _is_tenx_h5(path)


def _is_tenx_h5(path: Path) -> bool:
    import h5py

    try:
        with h5py.File(path) as file:
            return "matrix/barcodes" in file or any(
                isinstance(group, h5py.Group) and "gene_names" in group for group in file.values()
            )
    except OSError:
        return False


TENX = Reader(
    what="a matrix of 10x's",
    sources=("counts",),
    claims=is_tenx,
    read=read_tenx,
    keys=(POSITIONS, LIBRARY),
)
