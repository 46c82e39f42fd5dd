"""One axis of a region that is resampled: which pixels of a level it takes, and how much of it lies on the slide.

Planes as in :mod:`bleep_cli.slide.raster`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F64

REDUCE_ABOVE = 16  # from this shrink on, whole factors are averaged away first
MAX_REDUCTION = 1024


@dataclass(frozen=True)
class Axis:
    """One axis of a request, in a level reduced by a whole factor."""

    start: float
    """Where it begins, rd pixels."""
    step: float
    """rd pixels per output pixel."""
    out: int
    """Output pixels."""
    factor: int
    """lv pixels per rd pixel, a power of two."""

    @classmethod
    def of(cls, start_lv: float, size_lv: float, out: int) -> Axis:
        step, factor = size_lv / out, 1
        while step / factor > REDUCE_ABOVE and factor < MAX_REDUCTION:
            factor *= 2
        return cls(start_lv / factor, step / factor, out, factor)

    def span(self, first: int, n: int) -> tuple[int, int, float, float]:
        """Whole rd pixels (start, count) that n outputs need, and the box (from, to) inside them."""
        a, b = self.start + first * self.step, self.start + (first + n) * self.step
        margin = max(self.step, 1.0) + 1  # the reach of the triangle filter
        low = math.floor(a - margin)
        return low, math.ceil(b + margin) - low, a - low, b - low

    def cover(self, first: int, n: int, from_lv: float, to_lv: float) -> F64 | None:
        """f64[n]: the part of each output pixel from ``from_lv`` to ``to_lv``, the slide; None for all of it."""
        low, high = from_lv / self.factor, to_lv / self.factor
        if self.start + first * self.step >= low and self.start + (first + n) * self.step <= high:
            return None
        edges = self.start + (first + np.arange(n + 1)) * self.step
        return np.asarray(np.diff(np.clip(edges, low, high)) / self.step, np.float64)
