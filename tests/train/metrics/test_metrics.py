"""The numbers that are reported: r by hand, genes without r, gene sets, variance ratio."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import sparse, stats

from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.metrics.per_gene import mse, pearson, per_gene, score, spearman, variance_ratio


def f32(*columns: list[float]) -> np.ndarray:
    return np.array(columns, np.float32).T


def symbols(n: int) -> np.ndarray:
    return np.array([f"G{i}" for i in range(n)])


def test_pearson_by_hand() -> None:
    measured = f32([0, 1, 2], [0, 1, 2], [0, 1, 2], [1, 0, 0])
    predicted = f32([1, 3, 5], [2, 1, 0], [0, 1, 0], [1, 0, 1])
    np.testing.assert_allclose(pearson(predicted, measured), [1, -1, 0, 0.5], atol=1e-12)


def test_pearson_is_scipys_for_every_gene() -> None:
    rng = np.random.default_rng(0)
    predicted, measured = (rng.gamma(1, 1, (50, 7)).astype(np.float32) + 9 for _ in range(2))
    expected = [stats.pearsonr(p, m).statistic for p, m in zip(predicted.T, measured.T, strict=True)]
    np.testing.assert_allclose(pearson(predicted, measured), expected, atol=1e-6)


def test_a_gene_without_variance_has_no_r_on_either_side() -> None:
    rising, flat = [0.0, 1.0, 2.0], [0.1, 0.1, 0.1]
    r = pearson(f32(rising, flat, rising, flat), f32(rising, rising, flat, flat))
    np.testing.assert_array_equal(np.isnan(r), [False, True, True, True])
    assert r[0] == pytest.approx(1)


def test_a_gene_that_was_not_measured_has_no_r_and_keeps_its_place() -> None:
    nothing = [math.nan] * 3
    r = pearson(f32([0, 1, 2], [0, 1, 2], [2, 1, 0]), f32([0, 1, 2], nothing, [0, 1, 2]))
    np.testing.assert_allclose(r, [1, math.nan, -1])


def test_spearman_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 3 2 4; ties share their mean rank; curved but rising is 1."""
    measured = f32([0, 1, 2, 9], [0, 1, 2, 3], [0, 1, 2, 3])
    predicted = f32([5, 7, 6, 8], [0, 1, 1, 2], [1, 10, 100, 1000])
    tied = np.corrcoef([1, 2.5, 2.5, 4], [1, 2, 3, 4])[0, 1]
    np.testing.assert_allclose(spearman(predicted, measured), [1 - 6 * 2 / (4 * 15), tied, 1], atol=1e-6)


def test_spearman_is_scipys_for_every_gene() -> None:
    rng = np.random.default_rng(0)
    predicted, measured = (rng.poisson(2, (50, 7)).astype(np.float32) for _ in range(2))
    expected = [stats.spearmanr(p, m).statistic for p, m in zip(predicted.T, measured.T, strict=True)]
    np.testing.assert_allclose(spearman(predicted, measured), expected, atol=1e-6)


def test_mse_by_hand() -> None:
    measured = f32([0, 1, 2], [1, 1, 1], [math.nan] * 3, [0, 0, 0])
    predicted = f32([1, 1, 4], [1, 1, 1], [0, 1, 2], [math.nan] * 3)
    np.testing.assert_allclose(mse(predicted, measured), [5 / 3, 0, math.nan, math.nan])


def test_genes_without_a_metric_are_nan_in_their_place() -> None:
    rising, flat, nothing = [0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [math.nan] * 3
    found = per_gene(f32(rising, flat, rising, nothing), f32(flat, rising, nothing, rising))
    nan = {name: np.isnan(values).tolist() for name, values in found.items()}
    assert nan["pearson"] == nan["spearman"] == [True] * 4
    assert nan["mse"] == [False, False, True, True]
    assert nan["variance_ratio"] == [True, False, True, True]


def test_spearman_is_over_the_variable_genes_and_the_error_over_all_that_have_one() -> None:
    rising, falling, flat, nothing = [0.0, 1.0, 2.0], [2.0, 1.0, 0.0], [1.0] * 3, [math.nan] * 3
    measured = f32(rising, rising, rising, nothing)
    predicted = f32(rising, falling, flat, rising)
    sets = {"all": np.arange(4), "hvg50": np.array([0, 2, 3])}
    scored = score(predicted, measured, sets)
    assert scored["spearman"] == pytest.approx(1 / 2)  # flat: 0; not measured: in no mean
    assert scored["mse"] == pytest.approx((0 + 8 / 3 + 2 / 3) / 3)
    assert "spearman" not in score(predicted, measured, {"all": np.arange(4)})
    assert math.isnan(score(predicted, measured, {"all": np.array([3])})["mse"])


def test_genes_without_r_count_as_zero_and_are_counted() -> None:
    rising, flat, nothing = [0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [math.nan] * 3
    measured = f32(rising, rising, flat, nothing)
    predicted = f32([0, 2, 4], [2, 1, 0], rising, rising)
    sets = {"all": np.arange(4), "first": np.array([0, 2]), "none": np.array([], np.int64)}
    scored = score(predicted, measured, sets)
    assert scored["all"] == pytest.approx((1 - 1 + 0) / 3)  # what was not measured is in no mean
    assert scored["first"] == pytest.approx((1 + 0) / 2)
    assert math.isnan(scored["none"])
    assert (scored["n_nan"], scored["n_absent"], scored["n_spots"]) == (1, 1, 3)
    assert scored["variance_ratio"] == pytest.approx((4 + 1) / 2)  # median over the two that have one
    mean = score(np.ones_like(measured), measured, {"all": np.arange(2)})
    assert (mean["all"], mean["n_nan"], mean["variance_ratio"]) == (0.0, 2, 0.0)


def test_variance_ratio_by_hand() -> None:
    measured = f32([0, 2, 4], [0, 2, 4], [3, 3, 3], [math.nan] * 3)
    predicted = f32([0, 1, 2], [5, 5, 5], [0, 1, 2], [0, 1, 2])
    np.testing.assert_allclose(variance_ratio(predicted, measured), [0.25, 0, math.nan, math.nan])
    nothing = score(predicted, measured, {"all": np.array([2, 3])})
    assert math.isnan(nothing["variance_ratio"])


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix])
def test_gene_sets_are_ranked_by_variance_and_mean(form: object) -> None:
    rng = np.random.default_rng(1)
    training = (rng.normal(size=(400, 90)) * np.linspace(1, 2, 90) + 8 + rng.permutation(90) / 9).astype(
        np.float32
    )
    training[:, 5] = 0
    exact = training.astype(np.float64)
    sets = pick_gene_sets(form(training), symbols(90), np.ones(90, bool)).sets  # type: ignore[operator]
    usable = np.delete(np.arange(90), 5)
    by_variance = usable[np.argsort(-exact.var(axis=0)[usable], kind="stable")]
    by_mean = usable[np.argsort(-exact.mean(axis=0)[usable], kind="stable")]
    assert sets["hvg50"].tolist() == by_variance[:50].tolist()
    assert sets["all"].tolist() == by_variance.tolist()  # fewer than 1,000 genes: all of them
    assert sets["heg50"].tolist() == by_mean[:50].tolist()
    assert set(sets) == {"hvg50", "all", "heg50"}


def test_no_more_than_a_thousand_genes_are_scored() -> None:
    training = np.random.default_rng(2).gamma(1, 1, (12, 1100)).astype(np.float32)
    sets = pick_gene_sets(training, symbols(1100), np.ones(1100, bool)).sets
    assert {name: len(rows) for name, rows in sets.items()} == {"hvg50": 50, "all": 1000, "heg50": 50}
    assert sets["hvg50"].tolist() == sets["all"][:50].tolist()


def test_a_gene_must_be_detected_in_a_tenth_of_the_spots() -> None:
    training = np.zeros((20, 4), np.float32)
    training[:1, 0] = 9  # one in twenty: varies most, seen too seldom
    training[:2, 1] = 3
    training[:, 2] = np.linspace(1, 1.5, 20)
    sets = pick_gene_sets(training, symbols(4), np.ones(4, bool)).sets
    assert sets["all"].tolist() == [1, 2]
    assert sets["heg50"].tolist() == [2, 1]


def test_a_gene_must_be_eligible() -> None:
    training = np.array([[0, 5, 1], [9, 1, 2]], np.float32)
    sets = pick_gene_sets(training, symbols(3), np.array([False, True, True])).sets
    assert sets["all"].tolist() == [1, 2]
    assert sets["heg50"].tolist() == [1, 2]
    none = pick_gene_sets(training, symbols(3), np.zeros(3, bool)).sets
    assert [len(rows) for rows in none.values()] == [0, 0, 0]


def test_ties_keep_the_order_of_the_genes() -> None:
    column = np.arange(10, dtype=np.float32)
    training = np.stack([column + 1, 2 * column + 1, column + 1, 2 * column + 1], axis=1)
    sets = pick_gene_sets(training, symbols(4), np.ones(4, bool)).sets
    assert sets["all"].tolist() == [1, 3, 0, 2]
    assert sets["heg50"].tolist() == [1, 3, 0, 2]


def test_markers_are_those_asked_for_that_there_are() -> None:
    training = np.array([[0, 5, 1], [9, 1, 2]], np.float32)
    picked = pick_gene_sets(training, symbols(3), np.ones(3, bool), ["G2", "HAL", "G0"])
    assert picked.sets["markers"].tolist() == [2, 0]
    assert picked.names()["markers"] == ["G2", "G0"]
    assert picked.names()["all"][0] == "G0"
