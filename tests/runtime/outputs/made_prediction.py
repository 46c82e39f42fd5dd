"""A made-up prediction, small and with every kind of element, for the tests of the formats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bleep_cli.types import F32, Neighbours, Prediction, TileGrid, TileSpec

SLIDE = "patient 7.section-2"
SYMBOLS = np.array(["ERBB2", "HLA-DRB1", "a/b", "MT-CO1", "7SK", "Ünï µ", "."])
PROVENANCE: dict[str, Any] = {
    "slide": {"name": "s.svs", "sha256": "ab" * 32, "mpp": 0.25},
    "options": {"k": 5, "genes": None, "force": False, "tile/px": 224, "device": "cpu"},
    "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "quantiles": [0, 0.5, 1],
    "sections": [{"id": "C1", "n": 180}, {"id": "C2", "n": 2**40}],
    "nothing": [],
    "expression_units": "log1p(counts per 10,000)",
}
STORED_PROVENANCE = {
    "slide": {"name": "s.svs", "sha256": "ab" * 32, "mpp": 0.25},
    "options": {"k": 5, "force": False, "tile_px": 224, "device": "cpu"},
    "providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "quantiles": [0, 0.5, 1],
    "sections": {"0": {"id": "C1", "n": 180}, "1": {"id": "C2", "n": 2**40}},
    "nothing": [],
    "expression_units": "log1p(counts per 10,000)",
}


def blocks_of(expression: F32, rows: int) -> Iterator[tuple[int, F32]]:
    for first in range(0, len(expression), rows):
        yield first, expression[first : first + rows]


def make_prediction(rows: int = 5, columns: int = 12, genes: int = 7) -> tuple[Prediction, F32]:
    """A grid of 100 µm tiles (200 px) on a slide much wider than high, and its expression.

    ``hires`` is white but for the tile in array row 1, column 9, which is pure red.
    """
    rng = np.random.default_rng(7)
    n = rows * columns
    row, column = np.divmod(np.arange(n), columns)
    grid = TileGrid(
        centre_l0=np.stack([column * 200.0 + 100, row * 200.0 + 100], axis=1),
        array_row=row,
        array_col=column,
        tile_id=np.array([f"{r}x{c}" for r, c in zip(row, column, strict=True)]),
        region=np.where(column < 6, "1", "2"),
        spec=TileSpec(px=224, um=(100.0, 400.0)),
        mpp=0.5,
        pitch_um=100.0,
    )
    expression = rng.random((n, genes), np.float32)
    hires = np.full((rows * 10, columns * 10, 3), 255, np.uint8)
    hires[10:20, 90:100] = (255, 0, 0)
    prediction = Prediction(
        slide_id=SLIDE,
        grid=grid,
        in_tissue=np.arange(n) != 3,
        symbols=SYMBOLS if genes == len(SYMBOLS) else np.array([f"G{i}" for i in range(genes)]),
        gene_ids=np.array([f"ENSG{i:011d}" for i in range(genes)]),
        neighbours=Neighbours(rng.integers(0, 70_000, (n, 5)), rng.random((n, 5), np.float32)),
        obs={"similarity": rng.random(n, np.float32), "reliability": rng.random(n, np.float32)},
        blocks=lambda: blocks_of(expression, 16),
        hires=hires,
        hires_scalef=0.05,
        provenance=PROVENANCE,
    )
    return prediction, expression
