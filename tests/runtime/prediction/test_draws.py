"""Draws: each neighbour as often as its weight says, and as near together in space as the calibration states."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.prediction.expression.draws import draw, random_field
from bleep_cli.types import F64, Neighbours

NONE = np.empty(0, np.float32)


def calibration(spots: int, share: float, range_um: float = 300.0) -> Calibration:
    axis = np.random.default_rng(3).permutation(spots).astype(np.float32)
    return Calibration(NONE, np.empty((0, 0), np.float16), NONE, axis, share, range_um)


def places(n: int) -> F64:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) * 100.0


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_neighbours_are_drawn_as_often_as_they_weigh(share: float) -> None:
    index = np.tile(np.arange(4), (100, 1))
    weights = np.tile(np.array([0.4, 0.3, 0.2, 0.1], np.float32), (100, 1))
    found = Neighbours(index, np.ones_like(weights))
    drawn = np.concatenate([draw(found, weights, calibration(4, share), places(10), i) for i in range(400)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), weights[0], atol=0.02)


def test_tiles_side_by_side_are_drawn_alike_where_residuals_hang_together() -> None:
    index = np.tile(np.arange(50), (900, 1))
    weights = np.full(index.shape, 1 / 50, np.float32)
    found = Neighbours(index, np.ones_like(weights))

    def likeness(share: float) -> float:
        known = calibration(50, share)
        maps = [known.axis[draw(found, weights, known, places(30), i)].reshape(30, 30) for i in range(8)]
        return float(np.mean([np.corrcoef(m[:, 1:].ravel(), m[:, :-1].ravel())[0, 1] for m in maps]))

    assert abs(likeness(0.0)) < 0.05
    assert likeness(0.8) == pytest.approx(0.8 * np.exp(-1 / 3), abs=0.08)


def test_the_same_number_is_the_same_draw() -> None:
    index = np.tile(np.arange(20), (100, 1))
    weights = np.full(index.shape, 1 / 20, np.float32)
    found, known = Neighbours(index, np.ones_like(weights)), calibration(20, 0.5)
    first, again, other = (draw(found, weights, known, places(10), i) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_random_field_correlates_as_an_exponential() -> None:
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [300.0, 400.0]])
    fields = np.stack([random_field(centres, 200.0, np.random.default_rng(i)) for i in range(3000)])
    wanted = np.exp(-np.array([100.0, 500.0]) / 200)
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=0.06)
    np.testing.assert_allclose((fields[:, :1] * fields[:, 1:]).mean(axis=0), wanted, atol=0.06)
