"""Blocks of spots: which spots share one, r over resampled blocks, and resamples over folds."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_train.metrics.blocks import block_pearson, over_folds, spatial_blocks
from bleep_train.metrics.bootstrap import resampled_pearson
from bleep_train.metrics.per_gene import pearson

LATTICE = np.stack(np.meshgrid(np.arange(12), np.arange(10)), axis=-1).reshape(-1, 2) * 200.0


def test_a_block_is_a_square_of_five_by_five_spots() -> None:
    names = np.array(["a"] * len(LATTICE))
    jittered = LATTICE + np.random.default_rng(0).uniform(-1, 1, LATTICE.shape)
    for at in (LATTICE, jittered, LATTICE * 0.3 + 7):
        blocks = spatial_blocks(at, names)
        x, y = (LATTICE // 1000).astype(int).T
        assert len(np.unique(blocks)) == 6
        for block in np.unique(blocks):
            assert len({(a, b) for a, b in zip(x[blocks == block], y[blocks == block], strict=True)}) == 1
    assert np.bincount(spatial_blocks(LATTICE, names)).max() == 25


def test_sections_share_no_block() -> None:
    names = np.array(["a", "b"] * (len(LATTICE) // 2))  # one lattice, its columns taken in turn
    blocks = spatial_blocks(LATTICE, names)
    assert not set(blocks[names == "a"]) & set(blocks[names == "b"])
    assert blocks.min() == 0
    assert len(np.unique(blocks)) == blocks.max() + 1


def test_r_over_resampled_blocks_is_that_of_the_spots_drawn() -> None:
    rng = np.random.default_rng(0)
    measured = rng.normal(size=(12, 3)).astype(np.float32)
    predicted = (measured + rng.normal(size=(12, 3))).astype(np.float32)
    predicted[:, 2] = np.nan
    blocks = np.repeat([0, 1, 2], [5, 4, 3])
    found = block_pearson(predicted, measured, blocks, "C5", resamples=300)
    assert np.isnan(found[:, 2]).all()
    possible = {}
    for counts in np.ndindex(4, 4, 4):
        if sum(counts) == 3:
            rows = np.repeat(np.arange(12), np.array(counts)[blocks])
            possible[counts] = pearson(predicted[rows], measured[rows])[:2]
    for r in found[:, :2]:
        assert any(np.allclose(r, one, equal_nan=True) for one in possible.values())
    assert len({tuple(np.round(r, 6)) for r in found[:, :2]}) > 7
    np.testing.assert_array_equal(found, block_pearson(predicted, measured, blocks, "C5", resamples=300))
    other = block_pearson(predicted, measured, blocks, "C4", resamples=300)
    assert not np.array_equal(found, other, equal_nan=True)


def test_blocks_tell_of_the_likeness_of_neighbours() -> None:
    """A map of a few broad waves: resampling spots one by one makes the interval too narrow."""
    x, y = (np.stack(np.meshgrid(np.arange(30), np.arange(30)), axis=-1).reshape(-1, 2) / 5.0).T
    measured = np.sin(x + 0.5 * y)[:, None].astype(np.float32)
    predicted = np.cos(0.8 * x - y)[:, None].astype(np.float32)
    blocks = spatial_blocks(np.stack([x, y], axis=1), np.array(["a"] * len(x)))
    one_by_one = resampled_pearson(predicted, measured, "f").std()
    assert block_pearson(predicted, measured, blocks, "f").std() > 2 * one_by_one


def test_folds_are_resampled_from_three_on() -> None:
    apart = [np.full(1000, value) for value in (0.0, 0.3, 0.6)]
    assert over_folds(apart[:2]) == pytest.approx(0.15)
    drawn = over_folds(apart)
    assert set(np.round(drawn, 6)) == {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6}
    assert drawn.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(drawn, over_folds(apart))


def test_a_fold_drawn_twice_brings_two_resamples() -> None:
    same = np.random.default_rng(0).normal(size=1000)
    assert over_folds([same, same, same]).std() < 0.8  # 1 if they moved together
