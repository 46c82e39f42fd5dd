"""The ceiling of a made-up measurement is what its known truth says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from bleep_train.metrics.ceiling import ceiling_scores, reliability
from bleep_train.metrics.per_gene import pearson


def test_the_true_expression_reaches_the_ceiling_and_not_more() -> None:
    rng = np.random.default_rng(0)
    spots, genes = 3000, 12
    truth = np.exp(rng.normal(size=(spots, genes)) * 0.5) * np.geomspace(0.05, 20, genes)
    counts = rng.poisson(truth).astype(np.float32)
    filler = rng.poisson(2000, (spots, 1)).astype(np.float32)  # keeps totals apart from the genes looked at
    all_counts = sparse.csr_matrix(np.concatenate([filler, counts], axis=1))
    found = reliability([all_counts], [np.arange(1, genes + 1)], 2000)
    assert (np.diff(found) > 0).sum() > 9  # better the more molecules
    assert found[-1] > 0.7
    assert found[0] < 0.3
    reached = pearson(np.log1p(truth).astype(np.float32), np.log1p(counts))
    assert np.sqrt(found[5:]) == pytest.approx(reached[5:], abs=0.05)


def test_noise_has_no_ceiling_and_an_absent_gene_counts_as_zero() -> None:
    counts = np.random.default_rng(1).poisson(3, (2000, 40)).astype(np.float32)
    counts[:, 5] = 0
    halves = [sparse.csr_matrix(counts[:900]), sparse.csr_matrix(counts[900:])]
    found = reliability(halves, [np.arange(10)] * 2, 1e4)
    assert np.isnan(found[5])
    assert np.abs(np.delete(found, 5)).max() < 0.15
    scores = ceiling_scores(np.array([0.25, np.nan, -0.1, 0.81]), np.arange(4))
    assert scores == {"reliability": pytest.approx(0.24), "ceiling": pytest.approx(0.35)}
    assert np.isnan(ceiling_scores(found, np.array([], int))["ceiling"])


def test_a_gene_that_a_section_does_not_measure_has_no_reliability() -> None:
    rng = np.random.default_rng(2)
    counts = [sparse.csr_matrix(rng.poisson(rng.gamma(2, 5, (300, 1)), (300, 4))) for _ in range(2)]
    whole = reliability(counts, [np.arange(4)] * 2, 1e4)
    lacking = reliability(counts, [np.arange(4), np.array([0, -1, 2, 3])], 1e4)
    assert np.isnan(lacking).tolist() == [False, True, False, False]
    assert np.isfinite(whole).all()


def test_the_same_counts_give_the_same_ceiling() -> None:
    counts = sparse.csr_matrix(np.random.default_rng(1).poisson(3, (200, 10)))
    first, again = (reliability([counts], [np.arange(5)], 1e4) for _ in range(2))
    np.testing.assert_array_equal(first, again)
