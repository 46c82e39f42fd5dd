"""Shifted maps keep their texture and lose their place; p-values hold their level between smooth maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import gaussian_filter

from bleep_cli.cohort.patches import morans_i
from bleep_train.metrics.per_gene import pearson
from bleep_train.metrics.shifts import SHIFTS, benjamini_hochberg, shift_p, shifted_rows, shifts

SIDE = 24
XY = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2) * 100.0
ONE = np.array(["a"] * len(XY))


def smooth(genes: int, seed: int, sigma: float = 3) -> np.ndarray:
    """f32[n, g] maps with waves of some spots."""
    noise = np.random.default_rng(seed).normal(size=(genes, SIDE, SIDE))
    maps = np.stack([gaussian_filter(one, sigma, mode="wrap") for one in noise])
    return maps.reshape(genes, -1).T.astype(np.float32) / maps.std()


def test_a_shifted_map_is_as_smooth_and_elsewhere() -> None:
    original = smooth(20, 0)
    before = morans_i(original, XY, ONE)
    for moved in shifts(original, XY, ONE)[:5]:
        assert morans_i(moved, XY, ONE) == pytest.approx(before, abs=0.05)
        assert np.abs(pearson(moved, original)).mean() < 0.5
    shuffled = original[np.random.default_rng(0).permutation(len(original))]
    assert np.abs(morans_i(shuffled, XY, ONE)).max() < 0.2 < before.min()


def test_a_whole_lattice_is_permuted_nearly_and_repeats_by_seed() -> None:
    found = list(shifted_rows(XY, ONE, 10, seed=3))
    for rows in found:
        assert len(np.unique(rows)) > 0.9 * len(XY)
        assert (rows == np.arange(len(XY))).mean() < 0.1
    again = list(shifted_rows(XY, ONE, 10, seed=3))
    np.testing.assert_array_equal(found, again)
    assert len(shifts(smooth(1, 0), XY, ONE)) == SHIFTS


def test_maps_stay_on_their_section() -> None:
    names = np.where(np.arange(len(XY)) % 3 == 0, "b", "a")
    at = XY + np.where(names == "b", 1e5, 0.0)[:, None]
    for rows in shifted_rows(at, names, 5):
        assert (names[rows] == names).all()


def test_p_is_even_between_smooth_maps_that_share_nothing() -> None:
    """Where the plain test of a correlation finds a third of the genes."""
    predicted, measured = smooth(300, 1), smooth(300, 2)
    p = shift_p(predicted, measured, XY, ONE)
    assert 0.005 < (p < 0.05).mean() < 0.1
    assert stats.kstest(p, "uniform").pvalue > 0.001
    plain = stats.pearsonr(predicted, measured, axis=0, alternative="greater").pvalue
    assert (plain < 0.05).mean() > 0.25


def test_what_is_predicted_is_found_and_what_cannot_be_is_nan() -> None:
    measured = smooth(4, 5)
    predicted = measured + smooth(4, 6)
    predicted[:, 1], predicted[:, 2], measured[:, 3] = -measured[:, 1], np.nan, 0.5
    p = shift_p(predicted, measured, XY, ONE)
    assert p[0] < 0.01 and p[1] > 0.99
    assert np.isnan(p[2:]).all()


def test_benjamini_hochberg_by_another_way() -> None:
    p = np.array([0.04, 0.001, 0.9, 0.001, 0.03, 0.2])
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    q = benjamini_hochberg(np.array([0.02, np.nan]))
    assert q[0] == pytest.approx(0.04)
    assert np.isnan(q[1])
