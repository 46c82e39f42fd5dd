"""10x Genomics' matrices of counts: the HDF5 file and the folder of three text files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import Str

if TYPE_CHECKING:
    from scipy import sparse


def tenx_mtx(folder: Path) -> tuple[sparse.csr_matrix, Str, Str, Str]:
    """(counts CSR[n, g], ids str[g], symbols str[g], barcodes str[n]) of a folder with ``matrix.mtx.gz``."""
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


def tenx_h5(path: Path) -> tuple[sparse.csr_matrix, Str, Str, Str]:
    """The same of an HDF5 file."""
    import h5py
    from scipy import sparse

    path.stat()  # h5py's own error would tell the whole of the path
    with h5py.File(path) as file:
        matrix = file["matrix"]
        columns = {key: matrix[f"features/{key}"].asstr()[:].astype(str) for key in ("id", "name", "feature_type")}
        barcodes = matrix["barcodes"].asstr()[:].astype(str)
        counts = sparse.csr_matrix(
            (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:]),
            shape=(len(barcodes), len(columns["id"])),
        )
    genes = columns["feature_type"] == "Gene Expression"
    return counts[:, genes], columns["id"][genes], columns["name"][genes], barcodes
