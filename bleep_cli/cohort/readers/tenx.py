"""10x Genomics' matrices of counts: the HDF5 file, of Cell Ranger 2 too, and the three text files of a matrix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.hdf5 import is_hdf5, open_hdf5
from bleep_cli.cohort.parts.join import join, section_positions
from bleep_cli.cohort.parts.plane import factors_beside
from bleep_cli.cohort.parts.reader import LIBRARY, POSITIONS, Counted, RawSection, Reader, Source
from bleep_cli.cohort.parts.tenx_mtx import is_mtx, tenx_mtx
from bleep_cli.cohort.readers.h5ad import is_h5ad
from bleep_cli.errors import ReferenceError
from bleep_cli.genes.features import Features

if TYPE_CHECKING:
    from scipy import sparse


def tenx(path: Path) -> Counted:
    """A matrix: an HDF5 file, ``matrix.mtx``, or a folder with one.

    Raises ``ReferenceError``, ``OSError``, ``ValueError`` or ``KeyError`` for what is none.
    """
    return tenx_mtx(path) if path.is_dir() or is_mtx(path) else tenx_h5(path)


def tenx_h5(path: Path) -> Counted:
    """The HDF5 file: group ``matrix`` of Cell Ranger 3 and later, a group a genome before."""
    from scipy import sparse

    with open_hdf5(path) as file:
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
            there = ", ".join(file) or "nothing"
            raise ReferenceError(
                f"{path.name} is no matrix of 10x's: no group matrix, nor one of a genome; in it are {there}"
            )
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
    """A group of HDF5 holds features × barcodes by columns, which is barcodes × features by rows.

    Its arrays were checked when the file was opened.
    """
    from scipy import sparse

    arrays = (group["data"][:], group["indices"][:], group["indptr"][:])
    return sparse.csr_matrix(arrays, shape=tuple(group["shape"][:][::-1]))


def read_tenx(source: Source) -> RawSection:
    """A matrix with a table of positions."""
    path = source.file("positions")
    counted, positions = tenx(source.path), section_positions(source, path)
    return join(counted, positions, source.entry.get("library"), factors=factors_beside(path))


def is_tenx(path: Path) -> bool:
    """Whether a path is a matrix in three files, or HDF5 and no AnnData."""
    return is_mtx(path) or (is_hdf5(path) and not is_h5ad(path))


TENX = Reader(
    what="a matrix of 10x's",
    sources=("counts",),
    claims=is_tenx,
    read=read_tenx,
    keys=(POSITIONS, LIBRARY),
)
