"""Weights against the paper's formulas written out, and the weighted mean in blocks."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import zarr
from scipy import sparse

from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.choices import Aggregation
from bleep_cli.prediction.expression import impute
from bleep_cli.prediction.expression.impute import impute_blocks, memory_of_expression, weigh
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, Neighbours


def neighbours(similarity: Any, index: Any = None) -> Neighbours:
    values = np.asarray(similarity, np.float32)
    rows = np.broadcast_to(np.arange(values.shape[1]), values.shape) if index is None else index
    return Neighbours(np.asarray(rows, np.int64), values)


def imputed(found: Neighbours, weights: F32, expression: Any, **options: int) -> F32:
    return np.concatenate([block for _, block in impute_blocks(found, weights, expression, **options)])


NEAR = neighbours([[0.9, 0.8, 0.5], [0.2, 0.2, -0.3]])


def test_average_gives_all_neighbours_the_same() -> None:
    np.testing.assert_allclose(weigh(NEAR, "average"), np.full((2, 3), 1 / 3), rtol=1e-6)


def test_simple_takes_the_nearest_alone() -> None:
    assert weigh(NEAR, "simple").tolist() == [[1, 0, 0], [1, 0, 0]]


def test_weighted_is_the_softmax_of_cosine_over_temperature() -> None:
    found = neighbours([[0.9, 0.8, 0.5]])
    powers = np.exp(np.array([0.9, 0.8, 0.5]) / 0.1)
    np.testing.assert_allclose(weigh(found, "weighted", 0.1)[0], powers / powers.sum(), rtol=1e-5)
    # by hand: a difference of ln 2 in cosine / temperature is a factor of 2
    weights = weigh(neighbours([[0.5, 0.5 - 0.05 * np.log(2)]]), "weighted")
    np.testing.assert_allclose(weights, [[2 / 3, 1 / 3]], rtol=1e-5)


def test_weighted_survives_a_temperature_of_nearly_nothing() -> None:
    np.testing.assert_array_equal(weigh(NEAR, "weighted", 1e-6), [[1, 0, 0], [0.5, 0.5, 0]])


def test_published_weighted_is_the_published_code() -> None:
    """exp(-(d² - d²min + 1)) over its sum, d between vectors of norm 16 (LayerNorm of 256 dimensions)."""
    rng = np.random.default_rng(3)
    query = unit(rng.normal(size=(4, 256)).astype(np.float32)).astype(np.float64)
    spots = query[:, None] + 0.004 * rng.normal(size=(4, 6, 256))
    spots /= np.linalg.norm(spots, axis=2, keepdims=True)
    squared = ((16 * spots - 16 * query[:, None]) ** 2).sum(axis=2)
    published = np.exp(-(squared - squared.min(axis=1, keepdims=True) + 1))
    published /= published.sum(axis=1, keepdims=True)
    cosine = (spots * query[:, None]).sum(axis=2)
    weights = weigh(neighbours(cosine), "published-weighted")
    np.testing.assert_allclose(weights, published, rtol=1e-3, atol=1e-6)
    assert 0.05 < published.max(axis=1).min() < 0.9  # neither uniform nor the nearest alone


def test_published_weighted_is_nearly_the_nearest_alone_at_usual_distances() -> None:
    assert weigh(neighbours([[0.9, 0.87]]), "published-weighted")[0, 0] > 0.999


@pytest.mark.parametrize("how", get_args(Aggregation))
def test_weights_are_f32_and_sum_to_one(how: Aggregation) -> None:
    similarity = np.sort(np.random.default_rng(0).uniform(-1, 1, (20, 50)), axis=1)[:, ::-1]
    weights = weigh(neighbours(similarity), how)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), 1, rtol=1e-5)
    assert (weights >= 0).all()


def test_expression_is_the_weighted_mean_of_the_neighbours() -> None:
    expression = np.array([[0, 4], [2, 0], [6, 8]], np.float32)
    found = neighbours([[0.9, 0.8], [0.9, 0.8]], [[0, 2], [1, 0]])
    weights = np.array([[0.25, 0.75], [0.5, 0.5]], np.float32)
    assert imputed(found, weights, expression).tolist() == [[4.5, 7.0], [1.0, 2.0]]


def test_a_neighbour_named_twice_counts_twice() -> None:
    expression = np.array([[1.0], [3.0]], np.float32)
    found = neighbours([[1.0, 1.0, 1.0]], [[1, 1, 0]])
    np.testing.assert_allclose(imputed(found, weigh(found, "average"), expression), [[7 / 3]], rtol=1e-6)


def random_case() -> tuple[Neighbours, F32, F32]:
    rng = np.random.default_rng(5)
    expression = (rng.poisson(0.4, (30, 9)) / 8).astype(np.float32)
    index = np.stack([rng.permutation(30)[:8] for _ in range(23)])
    found = neighbours(rng.uniform(0, 1, (23, 8)), index)
    return found, weigh(found, "average"), expression


def test_sparse_and_dense_references_agree_with_a_loop() -> None:
    found, weights, expression = random_case()
    rows = zip(found.index, weights, strict=True)
    wanted = np.array([sum(w * expression[i] for i, w in zip(*row, strict=True)) for row in rows])
    for reference in (expression, sparse.csr_matrix(expression)):
        block = imputed(found, weights, reference)
        assert isinstance(block, np.ndarray) and block.dtype == np.float32
        np.testing.assert_allclose(block, wanted, rtol=1e-6)


@pytest.mark.parametrize("block_rows", [1, 7, 22, 23, 24])
def test_blocks_follow_one_another_and_do_not_change_the_result(block_rows: int) -> None:
    found, weights, expression = random_case()
    blocks = list(impute_blocks(found, weights, expression, block_rows))
    assert [first for first, _ in blocks] == list(range(0, 23, block_rows))
    assert all(len(block) <= block_rows for _, block in blocks)
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), imputed(found, weights, expression))


def on_disk(expression: F32, chunks: tuple[int, int] = (8, 4)) -> StoredExpression:
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(store, shape=expression.shape, dtype=expression.dtype, chunks=chunks)
    array[...] = expression
    return StoredExpression(array, "ref.zarr", np.arange(expression.shape[1]))


@pytest.mark.parametrize("how", get_args(Aggregation))
@pytest.mark.parametrize("chunks", [(8, 4), (30, 9), (1, 1), (7, 9)])
def test_expression_on_disk_gives_the_same_bits_as_in_memory(how: Aggregation, chunks: tuple[int, int]) -> None:
    found, _, expression = random_case()
    weights = weigh(found, how)
    np.testing.assert_array_equal(
        imputed(found, weights, on_disk(expression, chunks)), imputed(found, weights, expression)
    )


@pytest.mark.parametrize("out_bytes", [1, 4 * 9 * 7 * 2, 1 << 29])
@pytest.mark.parametrize("dense_bytes", [1, 4 * 30 * 3, 1 << 30])
def test_neither_bound_of_memory_changes_the_result(
    monkeypatch: pytest.MonkeyPatch, out_bytes: int, dense_bytes: int
) -> None:
    monkeypatch.setattr(impute, "OUT_BYTES", out_bytes)
    monkeypatch.setattr(impute, "DENSE_BYTES", dense_bytes)
    found, weights, expression = random_case()
    blocks = list(impute_blocks(found, weights, on_disk(expression), 7))
    assert [first for first, _ in blocks] == [0, 7, 14, 21]
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), imputed(found, weights, expression))


class Sizes:
    """Stands before expression on disk and notes how much is asked for at once."""

    def __init__(self, stored: StoredExpression) -> None:
        self.real, self.sizes, self.spots = stored.gene_blocks, [], []

    def __call__(self, rows: Any, max_bytes: int) -> Any:
        self.spots.append(rows.tolist())
        for columns, block in self.real(rows, max_bytes):
            self.sizes.append(block.nbytes)
            yield columns, block


def test_only_neighbours_are_read_and_no_block_is_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(impute, "OUT_BYTES", 4 * 9 * 5)  # five tiles in a pass
    monkeypatch.setattr(impute, "DENSE_BYTES", 200)
    found, weights, expression = random_case()
    stored = on_disk(expression)
    sizes = Sizes(stored)
    monkeypatch.setattr(stored, "gene_blocks", sizes)
    list(impute_blocks(found, weights, stored, 5))
    assert sizes.spots == [np.unique(found.index[i : i + 5]).tolist() for i in range(0, 23, 5)]
    assert max(sizes.sizes) <= 200


@pytest.mark.parametrize(
    ("n_ref", "genes", "tiles", "wanted"),
    [(1000, 100, 10**6, 400_000), (10**6, 20_000, 100, (1 << 30) + 8_000_000), (10**6, 20_000, 10**5, 3 << 29)],
)
def test_memory_is_that_of_the_reference_up_to_a_bound(n_ref: int, genes: int, tiles: int, wanted: int) -> None:
    assert memory_of_expression(n_ref, genes, tiles) == wanted
