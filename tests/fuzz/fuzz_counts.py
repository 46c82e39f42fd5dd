"""Measured sections, their matrices altered: 10x's HDF5, an h5ad, Matrix Market and a table."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
from doors import Samples
from made_cohorts import write_spaceranger
from PIL import Image
from scipy import sparse

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError

N, G = 12, 5
BARCODES = [f"SPOT{i:04d}-1" for i in range(N)]
GENES = [f"GENE{i}" for i in range(G)]
ENTRY: dict[str, Any] = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "min_counts": 0}


class Counts(Samples):
    """A section in every format that counts come in."""

    def __init__(self, folder: Path) -> None:
        counts = np.arange(1, N * G + 1).reshape(N, G)
        Image.new("RGB", (200, 200), (220, 120, 190)).save(folder / "i.png")
        outs = folder / "outs"
        array = np.stack([np.arange(N), np.zeros(N, int)], axis=1)
        write_spaceranger(outs, array, array * 15.0 + 10, counts)
        made: dict[Path, dict[str, Any]] = {
            path: {"spaceranger": "outs"} for path in (outs / "filtered_feature_bc_matrix").iterdir()
        }
        places = {"positions": "outs/spatial/tissue_positions.csv"}
        made[_tenx(folder, counts)] = {"counts": "m.h5", **places}
        made[_h5ad(folder, counts)] = {"h5ad": "m.h5ad"}
        made[_table(folder, counts)] = {"counts": "m.tsv.gz", **places}
        files = {path: partial(self._read, entry, folder) for path, entry in made.items()}
        super().__init__(folder, files, ReferenceError)

    @staticmethod
    def _read(entry: dict[str, Any], folder: Path) -> None:
        section = read_section(ENTRY | entry, folder)
        assert section.counts.has_canonical_format and np.isfinite(section.counts.data).all()
        assert section.counts.data.min(initial=0) >= 0
        assert section.counts.shape == (len(section.barcodes), len(section.symbols))
        assert np.isfinite(section.xy_l0).all() and section.xy_l0.shape == (len(section.barcodes), 2)


def _tenx(folder: Path, counts: Any) -> Path:
    by_spot = sparse.csr_matrix(counts)
    with h5py.File(folder / "m.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"], group["indptr"] = by_spot.data, by_spot.indices, by_spot.indptr
        group["shape"] = [G, N]
        group["barcodes"] = BARCODES
        group["features/id"] = group["features/name"] = GENES
    return folder / "m.h5"


def _h5ad(folder: Path, counts: Any) -> Path:
    obs, var = pd.DataFrame(index=BARCODES), pd.DataFrame(index=GENES)
    matrix = sparse.csr_matrix(counts.astype(np.float32))
    anndata.AnnData(matrix, obs, var, obsm={"spatial": np.ones((N, 2))}).write_h5ad(folder / "m.h5ad")
    return folder / "m.h5ad"


def _table(folder: Path, counts: Any) -> Path:
    rows = ["\t".join(["", *GENES])]
    rows += ["\t".join([name, *map(str, row)]) for name, row in zip(BARCODES, counts.tolist(), strict=True)]
    (folder / "m.tsv.gz").write_bytes(gzip.compress("\n".join(rows).encode(), mtime=0))
    return folder / "m.tsv.gz"


door = Counts
