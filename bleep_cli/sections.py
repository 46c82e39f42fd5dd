"""Sections with measured expression: the cohort file and its readers.

A cohort file is TOML; paths in it are relative to it::

    [[section]]
    id = "C5"
    donor = "C"
    image = "images/C5.jpg"
    mpp = 0.69                                  # optional if the image states it
    counts = "counts/C5.tsv.gz"                 # ST tables: rows <x>x<y>, columns genes ...
    positions = "spots/C5_selection.tsv"        # ... with their positions
    # or: spaceranger = "outs"                  # filtered_feature_bc_matrix(.h5) and spatial/
    # or: h5ad = "C5.h5ad"                      # raw counts, obsm["spatial"] (x, y) in level-0 px
    # layer = "counts"                          # of the h5ad, where X is not raw
    # genes = "genes.tsv.gz"                    # optional: gene_id, gene_name
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.genes import strip_version, sum_duplicates
from bleep_cli.positions import Positions, read_positions
from bleep_cli.types import F64, Progress, Section, Str, no_progress

SOURCES = ("spaceranger", "h5ad", "counts")
KEYS = {"id", "donor", "image", "mpp", "spaceranger", "h5ad", "layer", "counts", "positions", "genes"}


@dataclass(frozen=True)
class _Raw:
    """What a reader returns: CSR[n, g], ids and symbols per gene, positions of the same n spots, notes."""

    counts: Any
    gene_ids: Str
    symbols: Str
    barcodes: Str
    xy_l0: F64
    notes: list[str]


def read_cohort(
    path: Path, *, only: Sequence[str] | None = None, progress: Progress = no_progress
) -> list[Section]:
    """The sections of a cohort file, in its order; ``only`` keeps those ids.

    Raises ``ReferenceError`` for a broken file or section, ``UsageError`` for a file or id that is not there.
    """
    entries = cohort_entries(path)
    ids = [entry["id"] for entry in entries]
    unknown = [i for i in only or () if i not in ids]
    if unknown:
        raise UsageError(f"{path.name} has no section {', '.join(unknown)}; it has {', '.join(ids)}")
    chosen = [entry for entry in entries if only is None or entry["id"] in only]
    sections = []
    for i, entry in enumerate(chosen):
        progress("sections", i, len(chosen))
        sections.append(read_section(entry, path.parent))
    progress("sections", len(chosen), len(chosen))
    return sections


def cohort_entries(path: Path) -> list[dict[str, Any]]:
    """The ``[[section]]`` tables, checked for their keys but with nothing of theirs opened."""
    if not path.is_file():
        raise UsageError(f"{path.name}: no such cohort file")
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("section", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReferenceError(f"{path.name}: not valid TOML ({error})") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ReferenceError(f"{path.name}: no [[section]] in it")
    for number, entry in enumerate(entries, 1):
        _check_entry(entry, f"{path.name}, section {entry.get('id', number)}")
    ids = [entry["id"] for entry in entries]
    if len(set(ids)) != len(ids):
        raise ReferenceError(f"{path.name}: two sections have the same id")
    return entries


def _check_entry(entry: dict[str, Any], where: str) -> None:
    unknown = set(entry) - KEYS
    if unknown:
        raise ReferenceError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; known are {', '.join(sorted(KEYS))}"
        )
    missing = {"id", "donor", "image"} - set(entry)
    if missing:
        raise ReferenceError(f"{where}: {', '.join(sorted(missing))} missing")
    sources = [source for source in SOURCES if source in entry]
    if len(sources) != 1:
        raise ReferenceError(f"{where}: give exactly one of {', '.join(SOURCES)}")
    if sources == ["counts"] and "positions" not in entry:
        raise ReferenceError(f"{where}: counts need positions")
    unused = {"layer": "h5ad", "positions": "counts"}
    for key, source in unused.items():
        if key in entry and source not in entry:
            raise ReferenceError(f"{where}: {key} goes with {source}, not with {sources[0]}")
    wrong = [key for key in set(entry) - {"mpp"} if not isinstance(entry[key], str)]
    if wrong:
        raise ReferenceError(f"{where}: {', '.join(sorted(wrong))} must be in quotes")
    mpp = entry.get("mpp", 1.0)
    if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not mpp > 0:
        raise ReferenceError(f"{where}: mpp must be a positive number")


def read_section(entry: dict[str, Any], base: Path) -> Section:
    """One ``[[section]]`` table → ``Section``; spots without counts, position or any molecule are dropped."""
    where = f"section {entry['id']}"
    reader: Callable[[dict[str, Any], Path], _Raw] = (
        _read_spaceranger if "spaceranger" in entry else _read_h5ad if "h5ad" in entry else _read_st
    )
    try:
        raw = reader(entry, base)
    except UsageError as error:  # positions that cannot be read are the cohort's fault here
        raise ReferenceError(f"{where}: {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReferenceError(f"{where}: cannot be read ({_reason(error)})") from error
    image = base / entry["image"]
    if not image.is_file():
        raise ReferenceError(f"{where}: no image {image.name}")
    if "genes" in entry:
        raw = _named(raw, base / entry["genes"], where)
    return _finish(raw, entry, str(image), where)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename)).name}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _finish(raw: _Raw, entry: dict[str, Any], image: str, where: str) -> Section:
    notes = list(raw.notes)
    counts = raw.counts.astype(np.float32)
    if counts.nnz and not np.isfinite(counts.data).all():
        raise ReferenceError(f"{where}: counts hold NaN or infinity")
    if counts.nnz and ((counts.data < 0).any() or (counts.data % 1 != 0).any()):
        raise ReferenceError(
            f'{where}: these are no raw counts (negative or fractional); name the raw layer with layer = "counts"'
        )
    if raw.xy_l0.shape[1] != 2 or not np.isfinite(raw.xy_l0).all():
        raise ReferenceError(f"{where}: spot coordinates must be two numbers, x and y")
    bare = np.array([strip_version(g) for g in raw.gene_ids], dtype=str)
    counts, gene_ids, first, merged = sum_duplicates(counts, bare)
    if merged:
        notes.append(f"{merged} duplicate genes were added up")
    symbols = raw.symbols[first]
    versioned = raw.gene_ids[first]
    symbols = np.where(symbols == versioned, gene_ids, symbols)
    full = np.asarray(counts.sum(axis=1)).ravel() > 0
    if not full.all():
        notes.append(f"{int((~full).sum())} spots without a single molecule were dropped")
    if not full.any():
        raise ReferenceError(f"{where}: no spot has both counts and a position; notes: {'; '.join(notes)}")
    counts = counts[full]
    counts.sum_duplicates()  # one way to store the same numbers: the identity is of these
    counts.eliminate_zeros()
    barcodes, xy_l0 = raw.barcodes[full], np.ascontiguousarray(raw.xy_l0[full], dtype=np.float64)
    return Section(
        id=entry["id"],
        donor=entry["donor"],
        sha256=_digest(counts, gene_ids, barcodes, xy_l0),
        counts=counts,
        symbols=symbols,
        gene_ids=gene_ids,
        barcodes=barcodes,
        xy_l0=xy_l0,
        image=image,
        mpp=entry.get("mpp"),
        notes=tuple(notes),
    )


def _digest(counts: Any, genes: Str, barcodes: Str, xy_l0: F64) -> str:
    """Identity of a section's data, whatever its files or its id are called."""
    digest = hashlib.sha256()
    for array in (
        counts.indptr.astype("<i8"),
        counts.indices.astype("<i8"),
        counts.data.astype("<f4"),
        xy_l0,
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    for names in (genes, barcodes):
        digest.update("\n".join(names).encode())
    return digest.hexdigest()


def _join(counts: Any, names: Str, positions: Positions, gene_ids: Str, symbols: Str) -> _Raw:
    """Inner join of count rows and in-tissue positions by barcode, in the order of the positions."""
    inside = positions.subset(positions.in_tissue)
    _check_unique(names)
    row = {str(name): i for i, name in enumerate(names)}
    found = np.array([b in row for b in inside.barcode], dtype=bool)
    notes = []
    if not found.all():
        notes.append(f"{int((~found).sum())} spots in tissue have no counts")
    kept = inside.subset(found)
    unused = len(names) - len(kept.barcode)
    if unused:
        notes.append(f"{unused} rows of counts have no position in tissue")
    rows = [row[str(b)] for b in kept.barcode]
    return _Raw(counts[rows], gene_ids, symbols, kept.barcode, kept.xy_l0, notes)


def _check_unique(barcodes: Str) -> None:
    names, times = np.unique(barcodes, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"spot {names[times > 1][0]} occurs {times.max()} times in the counts")


def _read_st(entry: dict[str, Any], base: Path) -> _Raw:
    import pandas as pd
    from scipy import sparse

    path = base / entry["counts"]  # the header apart: pandas would rename a gene that occurs twice
    head = pd.read_csv(path, sep="\t", header=None, nrows=1, dtype=str, keep_default_na=False)
    table = pd.read_csv(path, sep="\t", header=None, skiprows=1, index_col=0)
    genes = head.iloc[0].to_numpy(dtype=str)
    genes = genes[1:] if len(genes) == table.shape[1] + 1 else genes  # R leaves the corner out
    if len(genes) != table.shape[1]:
        raise ValueError(f"{path.name}: {len(genes)} names for {table.shape[1]} columns of counts")
    counts = sparse.csr_matrix(table.to_numpy(np.float32))
    names = np.array([str(name) for name in table.index], dtype=str)
    return _join(counts, names, read_positions(base / entry["positions"]), genes, genes)


def _read_spaceranger(entry: dict[str, Any], base: Path) -> _Raw:
    outs = base / entry["spaceranger"]
    spatial = outs / "spatial"
    forms = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")
    positions = next((spatial / form for form in forms if (spatial / form).is_file()), spatial / forms[0])
    matrix = outs / "filtered_feature_bc_matrix"
    h5 = outs / "filtered_feature_bc_matrix.h5"
    counts, gene_ids, symbols, barcodes = _tenx_mtx(matrix) if matrix.is_dir() else _tenx_h5(h5)
    return _join(counts, barcodes, read_positions(positions), gene_ids, symbols)


def _tenx_mtx(folder: Path) -> tuple[Any, Str, Str, Str]:
    import pandas as pd
    from scipy.io import mmread

    counts = mmread(folder / "matrix.mtx.gz").T.tocsr()
    features = pd.read_csv(folder / "features.tsv.gz", sep="\t", header=None, dtype=str)
    barcodes = pd.read_csv(folder / "barcodes.tsv.gz", sep="\t", header=None, dtype=str)
    ids, symbols = features[0].to_numpy(dtype=str), features[1].to_numpy(dtype=str)
    kind = features[2].to_numpy(dtype=str) if features.shape[1] > 2 else np.full(len(ids), "Gene Expression")
    genes = kind == "Gene Expression"
    if counts.shape != (len(barcodes), len(ids)):
        raise ValueError(f"matrix of {counts.shape[::-1]} against {len(ids)} features, {len(barcodes)} barcodes")
    return counts[:, genes], ids[genes], symbols[genes], barcodes[0].to_numpy(dtype=str)


def _existing(path: Path) -> Path:
    """The path, if it is there; h5py's own error would tell the whole of it."""
    path.stat()
    return path


def _tenx_h5(path: Path) -> tuple[Any, Str, Str, Str]:
    import h5py
    from scipy import sparse

    with h5py.File(_existing(path)) as file:
        matrix = file["matrix"]
        columns = {key: matrix[f"features/{key}"].asstr()[:].astype(str) for key in ("id", "name", "feature_type")}
        barcodes = matrix["barcodes"].asstr()[:].astype(str)
        counts = sparse.csr_matrix(
            (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:]),
            shape=(len(barcodes), len(columns["id"])),
        )
    genes = columns["feature_type"] == "Gene Expression"
    return counts[:, genes], columns["id"][genes], columns["name"][genes], barcodes


def _read_h5ad(entry: dict[str, Any], base: Path) -> _Raw:
    import anndata
    from scipy import sparse

    adata = anndata.read_h5ad(_existing(base / entry["h5ad"]))
    if "spatial" not in adata.obsm:
        raise ValueError('no obsm["spatial"] with (x, y) in level-0 px')
    layer = entry.get("layer") or ("counts" if "counts" in adata.layers else None)
    counts = sparse.csr_matrix(adata.layers[layer] if layer else adata.X)
    symbols = adata.var_names.to_numpy(dtype=str)
    column = next((c for c in ("gene_ids", "gene_id", "ensembl_id") if c in adata.var), None)
    ids = adata.var[column].to_numpy(dtype=str) if column else symbols
    xy_l0 = np.asarray(adata.obsm["spatial"], dtype=np.float64)[:, :2]
    _check_unique(adata.obs_names.to_numpy(dtype=str))
    raw = _Raw(counts, ids, symbols, adata.obs_names.to_numpy(dtype=str), xy_l0, [])
    if "in_tissue" not in adata.obs:
        return raw
    inside = adata.obs["in_tissue"].to_numpy().astype(int) == 1
    notes = [f"{int((~inside).sum())} spots outside tissue were left out"] if not inside.all() else []
    return _Raw(counts[inside], ids, symbols, raw.barcodes[inside], xy_l0[inside], notes)


def _named(raw: _Raw, path: Path, where: str) -> _Raw:
    """Symbols for bare gene ids from a table ``gene_id``, ``gene_name``."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        name_of = {strip_version(g): n for g, n in zip(table["gene_id"], table["gene_name"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise ReferenceError(
            f"{where}: {path.name} is no table of gene_id, gene_name ({_reason(error)})"
        ) from error
    symbols = np.array([name_of.get(strip_version(g)) or g for g in raw.gene_ids], dtype=str)
    return _Raw(raw.counts, raw.gene_ids, symbols, raw.barcodes, raw.xy_l0, raw.notes)
