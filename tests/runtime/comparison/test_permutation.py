"""The permutation tests, against SciPy's and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from bleep_cli.comparison.permutation import between_groups, within_pairs


def welch(a: np.ndarray, b: np.ndarray) -> float:
    return float(abs(stats.ttest_ind(b, a, equal_var=False).statistic))


@pytest.mark.parametrize(("n", "m"), [(4, 4), (3, 6), (2, 5)])
def test_all_assignments_are_those_of_scipy(n: int, m: int) -> None:
    values = np.random.default_rng(1).normal(size=(n + m, 7))
    second = np.arange(n + m) >= n
    found = between_groups(values, second, 10_000, 0)
    assert found.exact
    for gene in range(7):
        a, b = values[:n, gene], values[n:, gene]
        scipys = stats.permutation_test((a, b), welch, n_resamples=np.inf, alternative="greater")
        assert found.p[gene] == pytest.approx(scipys.pvalue)
        test = stats.ttest_ind(b, a, equal_var=False)
        interval = test.confidence_interval(0.95)
        assert (found.low[gene], found.high[gene]) == pytest.approx((interval.low, interval.high))
        assert found.effect[gene] == pytest.approx(b.mean() - a.mean())
    np.testing.assert_allclose(found.q, stats.false_discovery_control(found.p))


def test_signs_are_flipped_as_scipy_does() -> None:
    differences = np.random.default_rng(2).normal(0.4, 1, (7, 5))
    found = within_pairs(differences, 10_000, 0)
    for gene in range(5):
        d = differences[:, gene]
        scipys = stats.permutation_test(
            (d,), lambda x: abs(x.mean()), permutation_type="samples", n_resamples=np.inf, alternative="greater"
        )
        assert found.p[gene] == pytest.approx(scipys.pvalue)
        interval = stats.ttest_1samp(d, 0).confidence_interval(0.95)
        assert (found.low[gene], found.high[gene]) == pytest.approx((interval.low, interval.high))
    assert (found.exact, found.assignments, found.smallest_p) == (True, 128, 2 / 128)


def test_the_smallest_p_is_reached_and_stated() -> None:
    for n, m in ((3, 3), (3, 4)):
        apart = np.concatenate([np.arange(n), 100 + np.arange(m)])[:, None].astype(float)
        found = between_groups(apart, np.arange(n + m) >= n, 10_000, 0)
        assert found.p[0] == pytest.approx(found.smallest_p)
    assert within_pairs(np.array([[1.0], [2.0], [3.0]]), 99, 0).p[0] == 0.25


def test_random_assignments_are_seeded_and_count_the_observed() -> None:
    values = np.concatenate([np.zeros(12), np.full(12, 9.0)])[:, None] + np.random.default_rng(3).normal(
        size=(24, 1)
    )
    second = np.arange(24) >= 12
    found = between_groups(values, second, 199, 5)
    assert (found.exact, found.assignments, found.p[0]) == (False, 200, 1 / 200)
    noise = np.random.default_rng(4).normal(size=(24, 3))
    one, same, other = (between_groups(noise, second, 199, seed).p for seed in (5, 5, 6))
    assert (one == same).all()
    assert (one != other).any()
    assert within_pairs(np.full((20, 1), 1.0), 199, 0).p[0] == 1 / 200


def test_a_gene_that_does_not_vary_says_nothing() -> None:
    values = np.full((8, 1), 0.1) + 0.2
    found = between_groups(values, np.arange(8) >= 4, 10_000, 0)
    assert (found.p[0], found.q[0]) == (1, 1)
    assert found.effect[0] == pytest.approx(0)
    assert within_pairs(np.zeros((5, 1)), 10_000, 0).p[0] == 1


@pytest.mark.parametrize("paired", [False, True])
def test_under_no_effect_p_is_at_most_as_often_small_as_it_says(paired: bool) -> None:
    values = np.random.default_rng(6).normal(size=(10, 4000))
    found = within_pairs(values, 10_000, 0) if paired else between_groups(values, np.arange(10) >= 5, 10_000, 0)
    for level in (0.01, 0.05, 0.2):
        assert (found.p <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / 4000)
    assert (found.p <= 0.2).mean() > 0.15
