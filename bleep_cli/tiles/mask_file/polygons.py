"""Polygons as pixels: a pixel belongs to a polygon when its centre does."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from bleep_cli.types import F64, Bool

FAR = 1e8  # coordinates are clipped here: no slide is as large, and products of them stay exact enough
CROSSINGS = 4_000_000  # of edges with rows of pixels, held at once


def fill(rings: Sequence[F64], size: tuple[int, int]) -> Bool:
    """A polygon of rings f64[n, 2] (x, y), the outline first, then its holes, on a raster (w, h): bool[h, w]."""
    out = np.zeros(size[::-1], bool)
    outline, *holes = rings
    box = _rows_and_columns(outline, size)
    out[box] = _inside(outline, box)
    for hole in holes:
        out[box] &= ~_inside(hole, box)
    return out


def crossings(rings: Sequence[F64], size: tuple[int, int]) -> int:
    """How many rows of a raster (w, h) the edges of a polygon cross together: what :func:`fill` has to look at."""
    inside = [ring[:, 1].clip(0, size[1]) for ring in rings]
    return int(sum(np.abs(np.diff(y, append=y[:1])).sum() for y in inside))


def area(rings: Sequence[F64]) -> float:
    """Of a polygon, in the square of its own unit, by the shoelace formula."""
    outline, *holes = (abs(_shoelace(ring)) for ring in rings)
    return max(outline - sum(holes), 0.0)


def _shoelace(ring: F64) -> float:
    x, y = (ring - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _rows_and_columns(ring: F64, size: tuple[int, int]) -> tuple[slice, slice]:
    """The part of the raster that a ring may reach."""
    low = np.floor(ring.min(axis=0)).clip(0, size).astype(int)
    high = np.ceil(ring.max(axis=0)).clip(0, size).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _inside(ring: F64, box: tuple[slice, slice]) -> Bool:
    """Whether the centres of a part of the raster lie in a ring, by the even-odd rule: bool[h, w].

    Along every row of centres, the edges that cross it say where the inside begins and ends.
    """
    rows, columns = box
    height, width = rows.stop - rows.start, columns.stop - columns.start
    x, y = (ring.clip(-FAR, FAR) - (columns.start, rows.start)).T
    x_to, y_to = np.roll(x, -1), np.roll(y, -1)
    first = np.ceil(np.minimum(y, y_to) - 0.5).clip(0, height).astype(np.int64)
    count = np.ceil(np.maximum(y, y_to) - 0.5).clip(0, height).astype(np.int64) - first
    crossed = np.zeros((height, width + 1), np.int32)
    ends = np.cumsum(count)
    parts = np.searchsorted(ends, np.arange(0, ends[-1], CROSSINGS), side="right")
    for start, stop in pairwise([*parts, len(ring)]):
        edge = np.repeat(np.arange(start, stop), count[start:stop])
        before = ends[start] - count[start]
        row = first[edge] + np.arange(len(edge)) - (ends[edge] - count[edge] - before)
        along = (row + 0.5 - y[edge]) / (y_to[edge] - y[edge])
        column = np.ceil(x[edge] + along * (x_to[edge] - x[edge]) - 0.5).clip(0, width).astype(np.int64)
        crossed += np.bincount(row * (width + 1) + column, minlength=crossed.size).reshape(crossed.shape)
    return np.asarray(np.cumsum(crossed, axis=1)[:, :width] % 2 == 1, bool)
