"""Gene-gene correlations and their agreement, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bleep_train.metrics.gene_gene import gene_gene, structure_agreement, structure_genes

NAN = math.nan


def test_correlations_by_hand() -> None:
    expression = np.array([[0, 2, 0, 7, NAN], [1, 1, 1, 7, 1], [2, 0, 0, 7, 2]], np.float32)
    expected = np.full((5, 5), NAN)
    expected[:3, :3] = [[1, -1, 0], [-1, 1, 0], [0, 0, 1]]
    np.testing.assert_allclose(gene_gene(expression), expected, atol=1e-12)


def test_correlations_are_numpys() -> None:
    expression = np.random.default_rng(0).gamma(1, 1, (40, 6)).astype(np.float32)
    np.testing.assert_allclose(gene_gene(expression), np.corrcoef(expression.T), atol=1e-6)


def matrix(ab: float, ac: float, bc: float) -> np.ndarray:
    return np.array([[1, ab, ac], [ab, 1, bc], [ac, bc, 1]])


def test_agreement_by_hand() -> None:
    found = structure_agreement(matrix(-0.5, 0, 0.5), matrix(-1, 0, 1))
    assert found == {"r": pytest.approx(1), "mad": pytest.approx(1 / 3), "pairs": 3}
    assert structure_agreement(matrix(-0.5, 0, 0.5), matrix(0.5, 0, -0.5))["r"] == pytest.approx(-1)


def test_a_correlation_that_is_not_predicted_counts_as_none() -> None:
    found = structure_agreement(matrix(-0.6, 0, 0.6), matrix(NAN, 0.3, NAN))
    assert found == {"r": pytest.approx(0, abs=1e-12), "mad": pytest.approx(0.5), "pairs": 3}


def test_a_pair_that_was_not_measured_is_left_out() -> None:
    found = structure_agreement(matrix(NAN, 0.2, 0.6), matrix(-1, 0.1, 0.3))
    assert found == {"r": pytest.approx(1), "mad": pytest.approx(0.2), "pairs": 2}


def test_without_structure_there_is_no_r() -> None:
    flat = structure_agreement(matrix(0.1, 0.2, 0.3), np.full((3, 3), NAN))
    assert math.isnan(flat["r"])
    assert flat["mad"] == pytest.approx(0.2)
    nothing = structure_agreement(np.full((3, 3), NAN), matrix(1, 1, 1))
    assert math.isnan(nothing["r"]) and math.isnan(nothing["mad"]) and nothing["pairs"] == 0


def test_markers_are_compared_where_there_are_enough() -> None:
    sets = {"hvg50": np.arange(50), "markers": np.arange(5)}
    assert structure_genes(sets)[0] == "markers"
    assert structure_genes({**sets, "markers": np.arange(4)})[0] == "hvg50"
    assert structure_genes({"hvg50": np.arange(50)})[1].tolist() == list(range(50))
