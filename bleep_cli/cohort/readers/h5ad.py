"""AnnData files (h5ad): raw counts, and ``obsm["spatial"]`` with (x, y) in level-0 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.cohort.readers.join import check_unique
from bleep_cli.cohort.readers.plane import anndata_plane
from bleep_cli.cohort.readers.reader import Entry, Key, RawSection, Reader, Source
from bleep_cli.findings import Finding

LAYER = Key("layer")


def read_h5ad(source: Source) -> RawSection:
    """The whole file."""
    import anndata

    source.path.stat()  # h5py's own error would tell the whole of the path
    return of_anndata(anndata.read_h5ad(source.path), source.entry)


def of_anndata(adata: Any, entry: Entry) -> RawSection:
    """A section of an ``AnnData`` n × g; ``entry`` says what to take of it."""
    from scipy import sparse

    if "spatial" not in adata.obsm:
        raise ValueError('no obsm["spatial"] with (x, y) in level-0 px')
    layer = entry.get("layer") or ("counts" if "counts" in adata.layers else None)
    counts = sparse.csr_matrix(adata.layers[layer] if layer else adata.X)
    symbols = adata.var_names.to_numpy(dtype=str)
    column = next((c for c in ("gene_ids", "gene_id", "ensembl_id") if c in adata.var), None)
    ids = adata.var[column].to_numpy(dtype=str) if column else symbols
    xy_l0 = np.asarray(adata.obsm["spatial"], dtype=np.float64)[:, :2]
    check_unique(adata.obs_names.to_numpy(dtype=str))
    plane = anndata_plane(adata, xy_l0)
    raw = RawSection(counts, ids, symbols, adata.obs_names.to_numpy(dtype=str), xy_l0, plane=plane)
    if "in_tissue" not in adata.obs:
        return raw
    inside = adata.obs["in_tissue"].to_numpy().astype(int) == 1
    outside = int((~inside).sum())
    told = (Finding("spots-outside-tissue", f"{outside} spots outside tissue were left out"),) if outside else ()
    return RawSection(counts[inside], ids, symbols, raw.barcodes[inside], xy_l0[inside], told, plane)


def is_h5ad(path: Path) -> bool:
    """Whether a file is HDF5 with the tables of an AnnData."""
    import h5py

    try:
        with h5py.File(path) as file:
            return "obs" in file and "var" in file
    except OSError:
        return False


H5AD = Reader(what="an AnnData file", sources=("h5ad",), claims=is_h5ad, read=read_h5ad, keys=(LAYER,))
