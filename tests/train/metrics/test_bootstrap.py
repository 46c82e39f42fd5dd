"""Resampled correlations: each resample is what pearson gives for its spots; intervals hold what they claim."""

from __future__ import annotations

import math
from zlib import crc32

import numpy as np
import pytest
from scipy import stats

from bleep_train.metrics.bootstrap import gene_intervals, interval, resampled_means, resampled_pearson
from bleep_train.metrics.per_gene import pearson


def pair(spots: int, genes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    measured = rng.normal(size=(spots, genes))
    return tuple((side + 5).astype(np.float32) for side in (measured + rng.normal(size=(spots, genes)), measured))  # type: ignore[return-value]


def test_each_resample_is_pearson_of_its_spots() -> None:
    predicted, measured = pair(30)
    found = resampled_pearson(predicted, measured, "A", resamples=300)
    draws = np.random.default_rng(crc32(b"A")).multinomial(30, np.full(30, 1 / 30), 300)
    for i in (0, 249, 250, 299):  # blocks meet at 250
        rows = np.repeat(np.arange(30), draws[i])
        np.testing.assert_allclose(found[i], pearson(predicted[rows], measured[rows]), atol=1e-6)


def test_constant_and_missing_genes_have_no_r_and_keep_their_place() -> None:
    predicted, measured = pair(20)
    predicted[:, 1], measured[:, 2], measured[0, 3] = 0.1, 3.0, math.nan
    found = resampled_pearson(predicted, measured, "A", resamples=50)
    np.testing.assert_array_equal(np.isnan(found).all(axis=0), [False, True, True, True])
    assert np.isfinite(found[:, 0]).all()
    low, high = gene_intervals(found)
    np.testing.assert_array_equal(np.isnan(low), [False, True, True, True])
    assert low[0] < pearson(predicted, measured)[0] < high[0]
    means = resampled_means(found, {"two": np.array([0, 1]), "none": np.array([], np.int64)})
    assert list(means) == ["two"]
    np.testing.assert_allclose(means["two"], found[:, 0] / 2)


def test_a_gene_that_is_constant_in_some_resamples_has_an_interval_of_the_others() -> None:
    measured = np.zeros((20, 1), np.float32)
    measured[3] = 1
    found = resampled_pearson(measured, measured, "A", resamples=400)
    share = np.isnan(found).mean()
    assert 0.25 < share < 0.47  # (19/20)^20 = 0.36: the one spot was not drawn
    assert [ends[0] for ends in gene_intervals(found)] == pytest.approx([1, 1])


def test_folds_draw_independently_and_methods_alike() -> None:
    predicted, measured = pair(30)
    a = resampled_pearson(predicted, measured, "A", resamples=200)[:, 0]
    np.testing.assert_array_equal(a, resampled_pearson(predicted, measured, "A", resamples=200)[:, 0])
    b = resampled_pearson(predicted, measured, "B", resamples=200)[:, 0]
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.25


def test_the_interval_is_percentiles_and_close_to_fishers() -> None:
    assert interval(np.arange(1001.0)) == (25, 975)
    predicted, measured = pair(400, genes=1, seed=3)
    low, high = interval(resampled_pearson(predicted, measured, "A")[:, 0])
    fisher = stats.pearsonr(predicted[:, 0], measured[:, 0]).confidence_interval(0.95)
    assert (low, high) == (pytest.approx(fisher.low, abs=0.02), pytest.approx(fisher.high, abs=0.02))
