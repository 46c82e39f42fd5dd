"""Draws: each neighbour as often as its weight says, and as near together in space as the range states."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_cli.prediction.expression import draws
from bleep_cli.prediction.expression.draws import RandomFields, draw
from bleep_cli.types import F64, Neighbours


def places(n: int) -> F64:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2) * 100.0


@pytest.mark.parametrize("range_um", [0.0, 900.0])
def test_neighbours_are_drawn_as_often_as_they_weigh(range_um: float) -> None:
    index = np.tile(np.arange(4), (100, 1))
    weights = np.tile(np.array([0.6, 0.3, 0.1, 0.0], np.float32), (100, 1))
    found = Neighbours(index, np.ones_like(weights))
    drawn = np.concatenate([draw(found, weights, range_um, places(10), i) for i in range(600)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / len(drawn), weights[0], atol=0.03)
    assert not (drawn == 3).any()


def test_tiles_side_by_side_are_drawn_alike_as_far_as_fields_hang_together() -> None:
    index = np.tile(np.arange(50), (900, 1))
    weights = np.full(index.shape, 1 / 50, np.float32)
    found = Neighbours(index, np.ones_like(weights))

    def alike(range_um: float) -> float:
        maps = [draw(found, weights, range_um, places(30), i).reshape(30, 30) for i in range(8)]
        return float(np.mean([(m[:, 1:] == m[:, :-1]).mean() for m in maps]))

    assert alike(0.0) < 0.05
    near, middle, far = (alike(reach) for reach in (100.0, 1000.0, 10_000.0))
    assert 0.05 < near < middle < far
    assert far > 0.7


def test_the_same_number_is_the_same_draw() -> None:
    index = np.tile(np.arange(20), (100, 1))
    weights = np.full(index.shape, 1 / 20, np.float32)
    found = Neighbours(index, np.ones_like(weights))
    first, again, other = (draw(found, weights, 300.0, places(10), i) for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_tile_is_drawn_the_same_beside_others_as_alone() -> None:
    """Of a larger slide, and of one whose tiles have other neighbours as well."""
    rng = np.random.default_rng(0)
    index = rng.integers(0, 299, (40, 8))
    index[-1, 0] = 299
    weights = rng.random(index.shape).astype(np.float32)
    where = rng.uniform(0, 4000, (40, 2))
    whole = draw(Neighbours(index, weights), weights, 500.0, where, 3)
    assert index[:9].max() < 299
    part = draw(Neighbours(index[:9], weights[:9]), weights[:9], 500.0, where[:9], 3)
    np.testing.assert_array_equal(part, whole[:9])


def test_fields_are_independent_and_correlate_as_an_exponential() -> None:
    centres = np.array([[0.0, 0.0], [100.0, 0.0], [300.0, 400.0]])
    rows = np.tile(np.arange(2), (3, 1))
    made = [RandomFields(200.0, 2, np.random.default_rng(i)).at(centres, rows) for i in range(3000)]
    fields = np.stack(made)  # [draws, places, rows]
    wanted = np.exp(-np.array([100.0, 500.0]) / 200)
    np.testing.assert_allclose(fields.std(axis=0), 1, atol=0.06)
    np.testing.assert_allclose((fields[:, :1, 0] * fields[:, 1:, 0]).mean(axis=0), wanted, atol=0.06)
    assert np.abs((fields[:, :, 0] * fields[:, :, 1]).mean(axis=0)).max() < 0.06


def test_spots_of_more_fields_than_are_kept_share_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "FIELDS", 16)
    fields = RandomFields(200.0, 1000, np.random.default_rng(0))
    found = fields.at(np.zeros((1, 2)), np.array([[3, 19, 4]]))[0]
    assert found[0] == found[1] != found[2]
