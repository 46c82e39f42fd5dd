"""log1p normalisation is scanpy's, over all genes of the spot."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
from scipy import sparse

from bleep_cli.genes.normalise import detected, log1p_normalise


@pytest.fixture
def counts() -> sparse.csr_matrix:
    values = np.random.default_rng(0).negative_binomial(0.4, 0.05, (40, 30))
    return sparse.csr_matrix(values, dtype=np.float32)


@pytest.mark.parametrize("target_sum", [1e4, 1e6, 100.0])
def test_is_scanpys_normalize_total_and_log1p(counts: sparse.csr_matrix, target_sum: float) -> None:
    sc = pytest.importorskip("scanpy", reason="needs scanpy, of the extra train")
    adata = anndata.AnnData(counts.copy())
    sc.pp.normalize_total(adata, target_sum=target_sum)
    sc.pp.log1p(adata)
    found = log1p_normalise(counts, target_sum)
    assert sparse.issparse(found) and found.format == "csr" and found.dtype == np.float32
    np.testing.assert_allclose(found.toarray(), adata.X.toarray(), rtol=1e-5)


def test_by_hand() -> None:
    found = log1p_normalise(sparse.csr_matrix(np.array([[1, 3], [0, 5]], np.float32)))
    wanted = np.log1p([[2500, 7500], [0, 10_000]])
    np.testing.assert_allclose(found.toarray(), wanted, rtol=1e-6)


def test_counts_are_left_as_they_are(counts: sparse.csr_matrix) -> None:
    before = counts.copy()
    log1p_normalise(counts)
    np.testing.assert_array_equal(counts.toarray(), before.toarray())


def test_a_spot_without_molecules_is_zero_not_nan() -> None:
    found = log1p_normalise(sparse.csr_matrix(np.array([[0, 0], [1, 0]], np.float32)))
    np.testing.assert_allclose(found.toarray(), [[0, 0], [np.log1p(10_000), 0]], rtol=1e-6)


def test_each_total_runs_over_all_genes(counts: sparse.csr_matrix) -> None:
    first = log1p_normalise(counts)[:, :5].toarray()
    assert np.abs(first - log1p_normalise(counts[:, :5]).toarray()).max() > 0.1  # so genes are left out after it
    np.testing.assert_allclose(np.expm1(log1p_normalise(counts).toarray()).sum(axis=1), 1e4, rtol=1e-4)


def test_detected_counts_spots_not_molecules() -> None:
    counts = sparse.csr_matrix(np.array([[5, 0, 1], [2, 0, 0]], np.float32))
    counts.data[-1] = 0  # an explicit zero is no molecule
    found = detected(counts)
    assert found.tolist() == [1, 0, 1] and found.dtype == np.int64
