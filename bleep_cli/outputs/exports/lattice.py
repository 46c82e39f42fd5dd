"""The tiles of a prediction as pixels of a picture, where they lie on a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.errors import UsageError, option
from bleep_cli.limits import MOST_CELLS, over
from bleep_cli.types import F32, F64, I64, TileGrid

OFF_GRID = 0.05  # of the grid's step that a centre may lie beside it: positions may be rounded to whole pixels


@dataclass(frozen=True)
class Lattice:
    """A pixel for each cell of the smallest rectangle that holds all tiles."""

    row: I64
    """i64[n] row of each tile."""
    column: I64
    """i64[n] its column."""
    height: int
    width: int
    corner_um: tuple[float, float]
    """(x, y) of the outer corner of the first pixel, in µm from the slide's level-0 origin."""
    step_um: float
    """Edge of a pixel in µm: the distance from tile to tile."""

    def plane(self, values: F32) -> F32:
        """f32[n] of the tiles as f32[height, width]; NaN where there is no tile."""
        out = np.full((self.height, self.width), np.nan, np.float32)
        out[self.row, self.column] = values
        return out


def lattice(grid: TileGrid, kind: str) -> Lattice:
    """Where the tiles lie on a grid of their own pitch, by their centres alone.

    ``UsageError`` of the format ``kind`` for tiles that lie on no such grid, as those at given positions may, and
    for a grid of too many cells.
    """
    step = grid.pitch_um / grid.mpp
    first = grid.centre_l0.min(axis=0)
    cells = (grid.centre_l0 - first) / step
    near = np.rint(cells)
    width, height = (int(size) for size in near.max(axis=0) + 1)
    if height * width > MOST_CELLS:
        raise UsageError(f"{option('format')} {kind}: {over(f'{width:,} × {height:,} pixels', 'MOST_CELLS')}")
    column, row = near.astype(np.int64).T
    if np.abs(cells - near).max() > OFF_GRID or len(np.unique(row * width + column)) < len(grid):
        raise UsageError(
            f"{option('format')} {kind}: the tiles lie on no grid of {grid.pitch_um:g} µm, so that they are no "
            f"pixels; choose geojson, spatialdata, parquet or csv, or leave {option('at')} out"
        )
    return Lattice(row, column, height, width, _corner(first, step, grid.mpp), grid.pitch_um)


def _corner(first: F64, step: float, mpp: float) -> tuple[float, float]:
    x, y = (first - step / 2) * mpp
    return float(x), float(y)


def halved(plane: F32) -> F32:
    """f32[h, w] at half its size, rounded up: each pixel the mean of those of up to four that there are, NaN where
    there is none."""
    height, width = (size + size % 2 for size in plane.shape)
    padded = np.full((height, width), np.nan, np.float32)
    padded[: plane.shape[0], : plane.shape[1]] = plane
    total, count = np.zeros((height // 2, width // 2)), np.zeros((height // 2, width // 2), np.float32)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1)):
        quarter = padded[y::2, x::2]
        there = np.isfinite(quarter)
        np.add(total, quarter, out=total, where=there)
        count += there
    with np.errstate(invalid="ignore"):  # 0 / 0, where there is none
        return (total / count).astype(np.float32)
