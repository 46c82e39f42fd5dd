"""Intervals from left-out spots: the scores are those of the sample, and hold what they say on new spots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.reliability.intervals import LEVELS, interval_scores
from bleep_cli.types import F32


@dataclass
class Spots:
    """Left-out spots whose measured values lie around the predicted ones as their spread says."""

    predicted: F32
    spread: F32
    measured: F32

    @property
    def genes(self) -> int:
        return self.predicted.shape[1]

    @property
    def spots(self) -> range:
        return range(len(self.predicted))

    def blocks(self) -> Iterator[tuple[slice, F32, F32, F32]]:
        for first in range(0, self.genes, 3):
            genes = slice(first, first + 3)
            yield genes, self.predicted[:, genes], self.spread[:, genes], self.measured[:, genes]


def spots(m: int, seed: int) -> Spots:
    rng = np.random.default_rng(seed)
    predicted = rng.gamma(4.0, 1.0, (m, 7)).astype(np.float32) + 10
    spread = rng.gamma(4.0, 0.25, (m, 7)).astype(np.float32)
    noise = rng.gamma(2.0, 1.0, (m, 7)) - 2  # not symmetric
    return Spots(predicted, spread, (predicted + (spread + 1) * noise).astype(np.float32))


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
def test_new_spots_lie_within_as_often_as_said(coverage: float) -> None:
    scores, floor = interval_scores(spots(4000, 0))  # type: ignore[arg-type]
    known = Calibration(LEVELS, scores, floor, np.empty(0, np.float32))
    low, high = known.bounds(coverage)
    new = spots(4000, 1)
    scale = new.spread + floor
    inside = (new.measured >= new.predicted + low * scale) & (new.measured <= new.predicted + high * scale)
    np.testing.assert_allclose(inside.mean(axis=0), coverage, atol=0.025)


def test_scores_ascend_and_small_samples_are_rounded_outwards() -> None:
    few = spots(9, 2)
    scores, floor = interval_scores(few)  # type: ignore[arg-type]
    assert (np.diff(scores, axis=1) >= 0).all()
    ordered = np.sort((few.measured - few.predicted) / (few.spread + floor), axis=0)
    at = {round(float(level), 3): i for i, level in enumerate(LEVELS)}
    for level, place in ((0.1, 0), (0.25, 1), (0.75, 7), (0.9, 8), (0.005, 0), (0.995, 8)):
        np.testing.assert_allclose(scores[:, at[level]], ordered[place], rtol=2e-3, atol=2e-3)


def test_between_levels_is_interpolated() -> None:
    levels = np.array([0.1, 0.2, 0.8, 0.9], np.float32)
    scores = np.array([[-4, -2, 2, 4]], np.float16)
    low, high = Calibration(levels, scores, np.ones(1, np.float32), np.empty(0, np.float32)).bounds(0.7)
    np.testing.assert_allclose([low[0], high[0]], [-3, 3], atol=1e-3)
