"""Written results, altered: an h5ad read back with its expression."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from doors import Samples

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.read import open_result
from bleep_cli.types import Neighbours, Prediction, TileGrid, TileSpec


class Results(Samples):
    """A result of few tiles and genes."""

    def __init__(self, folder: Path) -> None:
        path = folder / "r.h5ad"
        write_h5ad(_prediction(), path)
        super().__init__(folder, {path: partial(self._read, path)}, OutputError, UsageError)

    @staticmethod
    def _read(path: Path) -> None:
        found = open_result(path)
        n, g = len(found.grid), len(found.symbols)
        rows = [block for _, block in found.blocks()]
        assert np.concatenate(rows).shape == (n, g)
        assert found.neighbours.index.shape == found.neighbours.similarity.shape
        assert all(len(values) == n for values in found.obs.values())
        for layer in found.layers.values():
            assert sum(len(block) for _, block in layer()) == n


def _prediction() -> Prediction:
    n, g, rng = 12, 5, np.random.default_rng(0)
    row, column = np.divmod(np.arange(n), 4)
    grid = TileGrid(
        centre_l0=np.stack([column * 200.0, row * 200.0], axis=1),
        array_row=row,
        array_col=column,
        tile_id=np.array([f"s_{r}x{c}" for r, c in zip(row, column, strict=True)]),
        region=np.full(n, "1"),
        spec=TileSpec(px=16, um=(100.0,)),
        mpp=0.5,
        pitch_um=100.0,
    )
    values = rng.random((n, g), np.float32)
    made = Prediction(
        slide_id="s",
        grid=grid,
        in_tissue=np.ones(n, bool),
        symbols=np.array([f"GENE{i}" for i in range(g)]),
        gene_ids=np.array([f"ENSG{i}" for i in range(g)]),
        neighbours=Neighbours(np.zeros((n, 3), np.int64), np.ones((n, 3), np.float32)),
        obs={"similarity": rng.random(n, np.float32)},
        blocks=lambda: iter([(0, values)]),
        hires=np.full((20, 40, 3), 255, np.uint8),
        hires_scalef=0.05,
        provenance={"slide": {"name": "s.svs"}, "findings": [], "options": {"k": 3}},
        findings=(),
        obsm={"offset": rng.random((n, 2), np.float32)},
        var={"r": rng.random(g, np.float32)},
    )
    return replace(made, layers={"lower": made.blocks})


door = Results
