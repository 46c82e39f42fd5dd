"""What a bundle keeps of how far its predictions miss: the spread of values, and how that hangs together in space.

Written by ``reliability`` when a bundle is built, read by ``prediction`` for intervals and draws.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.bundle.stored import read_group
from bleep_cli.types import F32, I64

if TYPE_CHECKING:
    from bleep_cli.bundle.storage.arrays import Group

CALIBRATION = "calibration"
"""The group of its arrays."""
SCORES = f"{CALIBRATION}/scores"
DTYPES = {"scores": "<f2", "levels": "<f4", "floor": "<f4"}
PATCH = "patch_um"
LEAST, MOST = 0.5, 0.99
"""Coverages that an interval can be asked for."""


@dataclass(frozen=True)
class Calibration:
    """How measured values of g genes lay around predicted ones in spots that were left out of a reference."""

    levels: F32
    """f32[q] shares of the left-out spots, ascending."""
    scores: NDArray[np.float16]
    """f16[g, q]: of that share (measured - predicted) / (spread + floor) is at most this."""
    floor: F32
    """f32[g] what is added to the neighbours' spread: the mean one of the gene."""
    patch_um: float | None = None
    """µm over which draws hang together, so that their maps are as patchy as measured ones: the range of the
    fields of ``prediction/expression/draws.py``. None where that was not measured."""

    def bounds(self, coverage: float) -> tuple[F32, F32]:
        """f32[g] scores between which ``coverage`` of the left-out spots lay."""
        tail = (1 - coverage) / 2
        low, high = (_at(self.levels, self.scores.astype(np.float32), level) for level in (tail, 1 - tail))
        return low, high

    def of_genes(self, columns: I64) -> Calibration:
        """The same of the genes ``columns`` i64[g] alone."""
        return replace(self, scores=self.scores[columns], floor=self.floor[columns])

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays as they are stored, by path."""
        return {f"{CALIBRATION}/{name}": getattr(self, name).astype(dtype) for name, dtype in DTYPES.items()}

    def attrs(self) -> dict[str, float]:
        """The attributes of the array of scores."""
        return {} if self.patch_um is None else {PATCH: self.patch_um}


def _at(levels: F32, scores: F32, level: float) -> F32:
    """f32[g] scores at a level between the stored ones."""
    above = int(np.clip(np.searchsorted(levels, level), 1, len(levels) - 1))
    part = np.clip((level - levels[above - 1]) / (levels[above] - levels[above - 1]), 0, 1)
    return np.asarray(scores[:, above - 1] * (1 - part) + scores[:, above] * part, np.float32)


def read_calibration(
    root: Group, name: str, read: Callable[[str], NDArray[Any]], genes: int
) -> Calibration | None:
    """The calibration of the bundle ``name`` of that many genes; None where it holds none.

    ``read`` gives an array by its path. Raises ``ReferenceError`` for arrays that do not fit together.
    """

    def made(values: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any]) -> Calibration | None:
        found = Calibration(**values, patch_um=float(attrs[PATCH]) if PATCH in attrs else None)
        return found if _fits(found, genes) else None

    return read_group(root, name, CALIBRATION, DTYPES, read, made)


def _fits(found: Calibration, genes: int) -> bool:
    numbers = (found.levels, found.scores, found.floor, [found.patch_um or 0.0])
    return (
        found.levels.ndim == 1
        and len(found.levels) > 1
        and bool((np.diff(found.levels) > 0).all())
        and found.scores.shape == (genes, len(found.levels))
        and found.floor.shape == (genes,)
        and all(bool(np.isfinite(part).all()) for part in numbers)
        and bool((found.floor >= 0).all())
        and bool((np.diff(found.scores, axis=1) >= 0).all())
        and (found.patch_um is None or found.patch_um > 0)
    )
