"""A section of an ``AnnData``, wherever it is stored: which rows, which matrix, which coordinates, which names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.cohort.parts.join import check_unique
from bleep_cli.cohort.parts.plane import anndata_plane
from bleep_cli.cohort.parts.reader import EVERY, LIBRARY, Entry, Key, RawSection
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.genes.features import Features, without_genome
from bleep_cli.genes.names import is_ensembl
from bleep_cli.types import F64, Bool, Str

if TYPE_CHECKING:
    import pandas as pd
    from scipy import sparse

KEYS = (Key("layer"), LIBRARY)
LIBRARIES = (
    *("libraryid", "library", "sampleid", "samplename", "sample", "sectionid", "sectionname", "section"),
    *("slideid", "slide", "sliceid", "slice", "capturearea", "imageid", "image", "puck", "origident", "batch"),
)
"""Columns of ``obs`` that tell sections apart; of all names here letter case and punctuation are left out."""
IDS = ("geneids", "geneid", "ensemblids", "ensemblid", "ensemblgeneid", "ensembl", "featureids", "featureid")
SYMBOLS = (
    *("featurename", "genesymbols", "genesymbol", "genenames", "genename", "symbols", "symbol", "geneshortname"),
    *("hgncsymbol", "mgisymbol", "externalgenename"),
)
TYPES, GENOMES = ("featuretypes", "featuretype", "featurebiotype"), ("genome",)
PLACES = ("spatial", "X_spatial")
PIXELS = ("pxl_col_in_fullres", "pxl_row_in_fullres")
TRUE = {"1", "1.0", "true", "t", "yes", "y"}


def section_of(adata: Any, entry: Entry) -> RawSection:
    """A section of an ``AnnData`` n × g; ``entry`` says what to take of it.

    Raises ``ReferenceError`` for what is missing in it, and where the entry has to say more.
    """
    rows, findings = _rows(adata, entry.get("library"))
    counts, var, names, hint = _matrix(adata, entry.get("layer"))
    barcodes = adata.obs_names.to_numpy(dtype=str)[rows]
    check_unique(barcodes)
    xy_l0 = _coordinates(adata)[rows]
    plane = anndata_plane(adata, rows, xy_l0, entry.get("library"))
    return RawSection(counts[rows], _features(var, names), barcodes, xy_l0, findings, hint, plane)


# --- rows


def libraries(obs: pd.DataFrame, named: Iterable[str]) -> tuple[str, list[str]]:
    """(column of ``obs`` that tells sections apart or "", their names) of an ``AnnData`` whose ``uns["spatial"]``
    has the libraries ``named``."""
    named = list(named)
    values = {str(column): _texts(obs[column]) for column in obs.columns}
    if len(named) > 1:
        of_named = [
            c for c, v in values.items() if set(v.tolist()) - {""} and set(v.tolist()) - {""} <= set(named)
        ]
        if of_named:
            there = set(values[of_named[0]].tolist())
            return of_named[0], [name for name in named if name in there]
    for known in LIBRARIES:
        for column, value in values.items():
            names, times = np.unique(value[value != ""], return_counts=True)
            if _plain(column) == known and len(names) > 1 and times.max() > 1:
                return column, names.tolist()
    return "", named


def _rows(adata: Any, library: str | None) -> tuple[Bool, tuple[Finding, ...]]:
    """bool[n] the rows of the section, and what to say of the others."""
    spatial = adata.uns.get("spatial")
    named = [k for k, v in spatial.items() if isinstance(v, Mapping)] if isinstance(spatial, Mapping) else []
    column, names = libraries(adata.obs, map(str, named))
    rows = np.ones(adata.n_obs, dtype=bool)
    if library not in (None, EVERY):
        if len(names) > 1 and not column:
            raise ReferenceError(
                f"it has pictures of {len(names)} sections ({', '.join(names)}) and no column that says which "
                "spot is of which; add one, obs['library_id'], with these names"
            )
        rows = _texts(adata.obs[column]) == library if column else rows
    findings = []
    if "in_tissue" in adata.obs:
        inside = np.array([v.lower() in TRUE for v in _texts(adata.obs["in_tissue"]).tolist()], dtype=bool)
        outside = int((rows & ~inside).sum())
        if outside:
            findings.append(Finding("spots-outside-tissue", f"{outside} spots outside tissue were left out"))
        rows = rows & inside
    return rows, tuple(findings)


# --- counts


def _matrix(adata: Any, layer: str | None) -> tuple[sparse.csr_matrix, pd.DataFrame, Str, str]:
    """(counts CSR[n, g], table of the g genes, their names, where raw counts are if these are none): of ``layer``,
    or else of "counts", or else of X."""
    from scipy import sparse

    there = {"X": adata.X, **dict(adata.layers)}
    if adata.raw is not None and "raw" not in there:
        there["raw"] = adata.raw.X
    there = {name: matrix for name, matrix in there.items() if matrix is not None}
    name = layer or ("counts" if "counts" in there else "X")
    if name not in there:
        if not there:
            raise ReferenceError("it holds no counts")
        has = ", ".join(there)
        raise ReferenceError(f"it has no matrix {name}; layer names one of those that it has: {has}")
    of = adata.raw if name == "raw" and "raw" not in adata.layers else adata
    hint = "" if whole(there[name]) else f" in {name}; {_raw_counts(there, name)}"
    return sparse.csr_matrix(there[name]), of.var, of.var_names.to_numpy(dtype=str), hint


def _raw_counts(there: Mapping[str, Any], name: str) -> str:
    """Which other matrix to name."""
    good = [other for other, matrix in there.items() if other != name and whole(matrix)]
    if good:
        return f'{" and ".join(good)} {"hold" if len(good) > 1 else "holds"} some, so say layer = "{good[0]}"'
    others = ", ".join(other for other in there if other != name)
    has = f"no other matrix ({others}) holds any" if others else "it has no other matrix"
    return f'{has}; name one of raw counts with layer = "counts"'


def whole(matrix: Any) -> bool:
    """Whether all values of a matrix, sparse or dense, are whole numbers from 0; NaN is left to others."""
    data = np.asarray(getattr(matrix, "data", matrix) if hasattr(matrix, "indptr") else matrix)
    finite = data[np.isfinite(data)]
    return not bool((finite < 0).any() or (finite % 1 != 0).any())


# --- names and places


def _features(var: pd.DataFrame, names: Str) -> Features:
    bare = without_genome(names)
    id_column, symbol_column = _column(var, IDS), _column(var, SYMBOLS)
    numbers = all(name.isdigit() for name in names.tolist())
    ids = names if id_column is None or is_ensembl(bare) else _texts(var[id_column])
    symbols = names
    if symbol_column is not None and (is_ensembl(bare) or numbers):
        symbols = _texts(var[symbol_column])
        # CELLxGENE makes names unique by the id
        ends = np.array([f"_{gene}" for gene in without_genome(ids).tolist()], dtype=str)
        pairs = zip(symbols.tolist(), ends.tolist(), strict=True)
        symbols = np.array([symbol.removesuffix(end) for symbol, end in pairs], dtype=str)
    if numbers and id_column is None:
        ids = symbols
    kinds, genomes = (
        None if column is None else _texts(var[column]) for column in (_column(var, TYPES), _column(var, GENOMES))
    )
    return Features(ids, symbols, kinds, genomes)


def _coordinates(adata: Any) -> F64:
    place = next((name for name in PLACES if name in adata.obsm), None)
    if place is not None:
        return np.asarray(adata.obsm[place], dtype=np.float64)[:, :2]
    if set(PIXELS) <= set(adata.obs.columns):
        return np.asarray(adata.obs[list(PIXELS)], dtype=np.float64)
    has = f" (it has {', '.join(adata.obsm)})" if len(adata.obsm) else ""
    raise ReferenceError(f'no obsm["spatial"] with (x, y) in level-0 px{has}')


def _column(table: pd.DataFrame, wanted: tuple[str, ...]) -> str | None:
    by_name: dict[str, str] = {}
    for column in table.columns:
        by_name.setdefault(_plain(str(column)), column)
    return next((by_name[name] for name in wanted if name in by_name), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _texts(column: pd.Series) -> Str:
    """str[n] of a column of whatever kind; "" where a value is missing."""
    missing = column.isna().to_numpy()
    values = column.astype(object).to_numpy()
    texts = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
    return np.where(missing, "", np.array(texts, dtype=str))
