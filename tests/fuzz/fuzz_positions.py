"""Tables of positions, altered: of Space Ranger, as Parquet, of QuPath, packed, with plain columns."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from doors import Samples

from bleep_cli.errors import UsageError
from bleep_cli.tiles.positions import read_positions

N = 12


class PositionTables(Samples):
    """A table of every kind."""

    def __init__(self, folder: Path) -> None:
        names, x, y = [f"SPOT{i}-1" for i in range(N)], np.arange(N) * 7.5, np.arange(N) * 3.25
        visium = pd.DataFrame({"barcode": names, "in_tissue": 1, "array_row": range(N), "array_col": range(N)})
        visium = visium.assign(pxl_row_in_fullres=y, pxl_col_in_fullres=x)
        visium.to_csv(folder / "tissue_positions.csv", index=False)
        visium.to_parquet(folder / "tissue_positions.parquet")
        plain = pd.DataFrame({"id": names, "x": x, "y": y})
        plain.to_csv(folder / "plain.tsv", sep="\t", index=False)
        (folder / "packed.csv.gz").write_bytes(gzip.compress(plain.to_csv(index=False).encode(), mtime=0))
        qupath = pd.DataFrame({"Name": names, "Centroid X µm": x, "Centroid Y µm": y})
        qupath.to_csv(folder / "qupath.txt", sep="\t", index=False)
        files = {path: partial(self._read, path) for path in folder.iterdir()}
        super().__init__(folder, files, UsageError)

    @staticmethod
    def _read(path: Path) -> None:
        found = read_positions(path, lambda: 0.5)
        assert len(found.barcode) == len(found.in_tissue) == len(set(found.barcode.tolist())) > 0
        assert np.isfinite(found.xy_l0).all()


door = PositionTables
