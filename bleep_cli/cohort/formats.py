"""The readers of measured sections: ST tables, Space Ranger folders, h5ad files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.tiles.positions import Positions, read_positions
from bleep_cli.types import F64, Str

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True)
class RawSection:
    """What a reader returns of one section: n spots with counts and a position, g genes, no value checked yet."""

    counts: sparse.csr_matrix
    """CSR[n, g] as they stand in the file."""
    gene_ids: Str
    """str[g] ids, with their version where the file states one; the symbols where it states no ids."""
    symbols: Str
    """str[g] symbols, or whatever the file calls its genes; may repeat."""
    barcodes: Str
    """str[n] names of the spots."""
    xy_l0: F64
    """f64[n, 2] (x, y) spot centres in the image's level-0 pixels."""
    findings: tuple[Finding, ...] = ()
    """What was dropped."""


def _join(counts: sparse.csr_matrix, names: Str, positions: Positions, gene_ids: Str, symbols: Str) -> RawSection:
    """Inner join of count rows and in-tissue positions by barcode, in the order of the positions."""
    inside = positions.subset(positions.in_tissue)
    _check_unique(names)
    row = {str(name): i for i, name in enumerate(names)}
    found = np.array([b in row for b in inside.barcode], dtype=bool)
    findings = []
    if not found.all():
        findings.append(Finding("spots-without-counts", f"{int((~found).sum())} spots in tissue have no counts"))
    kept = inside.subset(found)
    unused = len(names) - len(kept.barcode)
    if unused:
        findings.append(Finding("counts-without-position", f"{unused} rows of counts have no position in tissue"))
    rows = [row[str(b)] for b in kept.barcode]
    return RawSection(counts[rows], gene_ids, symbols, kept.barcode, kept.xy_l0, tuple(findings))


def _check_unique(barcodes: Str) -> None:
    names, times = np.unique(barcodes, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"spot {names[times > 1][0]} occurs {times.max()} times in the counts")


def read_st(entry: dict[str, Any], base: Path) -> RawSection:
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


def read_spaceranger(entry: dict[str, Any], base: Path) -> RawSection:
    outs = base / entry["spaceranger"]
    spatial = outs / "spatial"
    forms = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")
    positions = next((spatial / form for form in forms if (spatial / form).is_file()), spatial / forms[0])
    matrix = outs / "filtered_feature_bc_matrix"
    h5 = outs / "filtered_feature_bc_matrix.h5"
    counts, gene_ids, symbols, barcodes = _tenx_mtx(matrix) if matrix.is_dir() else _tenx_h5(h5)
    return _join(counts, barcodes, read_positions(positions), gene_ids, symbols)


def _tenx_mtx(folder: Path) -> tuple[sparse.csr_matrix, Str, Str, Str]:
    import pandas as pd
    from scipy.io import mmread

    counts = mmread(folder / "matrix.mtx.gz", spmatrix=True).T.tocsr()
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


def _tenx_h5(path: Path) -> tuple[sparse.csr_matrix, Str, Str, Str]:
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


def read_h5ad(entry: dict[str, Any], base: Path) -> RawSection:
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
    raw = RawSection(counts, ids, symbols, adata.obs_names.to_numpy(dtype=str), xy_l0)
    if "in_tissue" not in adata.obs:
        return raw
    inside = adata.obs["in_tissue"].to_numpy().astype(int) == 1
    outside = int((~inside).sum())
    told = (Finding("spots-outside-tissue", f"{outside} spots outside tissue were left out"),) if outside else ()
    return RawSection(counts[inside], ids, symbols, raw.barcodes[inside], xy_l0[inside], told)
