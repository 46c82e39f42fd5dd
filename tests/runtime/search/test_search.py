"""Exact search against brute force: ties, blocks, and embeddings that lie on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_cli.base.rows import SpooledRows
from bleep_cli.errors import ReferenceError
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, Neighbours


def sixteenths(n: int, d: int = 6, seed: int = 0) -> F32:
    """Vectors whose products are exact in f32, whatever the order of summation; many of them are equal."""
    return (np.random.default_rng(seed).integers(-4, 5, (n, d)) / 16).astype(np.float32)


def directions(n: int, d: int = 16, seed: int = 0) -> F32:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def brute_force(embeddings: F32, queries: F32, k: int) -> Neighbours:
    """One query and one row at a time, in Python's own sort."""
    index, similarity = [], []
    for query in queries:
        found = [(-float(np.dot(query, row)), i) for i, row in enumerate(embeddings)]
        nearest = sorted(found)[:k]
        index.append([i for _, i in nearest])
        similarity.append([-value for value, _ in nearest])
    return Neighbours(np.array(index, np.int64), np.array(similarity, np.float32))


def assert_same(found: Neighbours, wanted: Neighbours) -> None:
    np.testing.assert_array_equal(found.index, wanted.index)
    np.testing.assert_array_equal(found.similarity, wanted.similarity)
    assert (found.index.dtype, found.similarity.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("k", [1, 2, 7, 50, 119, 120])
def test_exact_is_brute_force_with_ties_by_index(k: int) -> None:
    embeddings, queries = sixteenths(120), sixteenths(25, seed=1)
    wanted = brute_force(embeddings, queries, k)
    assert_same(ExactIndex(embeddings).search(queries, k), wanted)
    if k == 7:  # the data does tie inside and at the boundary, or this would test nothing
        full = brute_force(embeddings, queries, 120).similarity
        assert (full[:, k - 1] == full[:, k]).any()
        assert (full[:, 0] == full[:, 1]).any()


def test_ties_at_the_boundary_take_the_smallest_index() -> None:
    embeddings = np.array([[0.5], [1.0], [0.5], [0.25], [0.5], [1.0]], np.float32)
    found = ExactIndex(embeddings).search(np.ones((1, 1), np.float32), 4)
    assert found.index.tolist() == [[1, 5, 0, 2]]
    assert found.similarity.tolist() == [[1.0, 1.0, 0.5, 0.5]]


@pytest.mark.parametrize("k", [1, 3, 9])
def test_all_equal_rows_come_in_their_order(k: int) -> None:
    found = ExactIndex(np.ones((9, 4), np.float32) / 2).search(np.ones((2, 4), np.float32) / 2, k)
    assert found.index.tolist() == [list(range(k))] * 2


def test_negative_similarities_are_ordered_too() -> None:
    embeddings = np.array([[-1.0, 0.0], [0.0, 1.0], [-0.5, 0.0]], np.float32)
    found = ExactIndex(embeddings).search(np.array([[1.0, 0.0]], np.float32), 3)
    assert found.index.tolist() == [[1, 2, 0]]
    assert found.similarity.tolist() == [[0.0, -0.5, -1.0]]


def test_more_neighbours_than_rows_gives_all_rows() -> None:
    embeddings, queries = sixteenths(5), sixteenths(3, seed=2)
    assert_same(ExactIndex(embeddings).search(queries, 50), brute_force(embeddings, queries, 5))


@pytest.mark.parametrize("row_block", [1, 7, 64, 119, 120, 1000])
@pytest.mark.parametrize("query_block", [1, 7, 25])
def test_block_sizes_do_not_change_results(row_block: int, query_block: int) -> None:
    """With ties at the K-th similarity across blocks, as above."""
    embeddings, queries = sixteenths(120), sixteenths(25, seed=1)
    assert_same(
        ExactIndex(embeddings, row_block, query_block).search(queries, 10), brute_force(embeddings, queries, 10)
    )


@pytest.mark.parametrize("order", ["nearest first", "nearest last"])
def test_the_order_of_the_reference_does_not_matter(order: str) -> None:
    """Nearest last is the worst case: every block replaces all neighbours found so far."""
    embeddings = sixteenths(600)
    query = sixteenths(1, seed=1)
    ranks = np.argsort(embeddings @ query[0], kind="stable")
    embeddings = embeddings[ranks if order == "nearest last" else ranks[::-1]]
    assert_same(ExactIndex(embeddings, 50).search(query, 20), brute_force(embeddings, query, 20))


def test_many_rows_in_blocks_are_brute_force() -> None:
    """Enough rows for the first look at a block to leave most of them out."""
    embeddings, queries = sixteenths(5000), sixteenths(8, seed=1)
    assert_same(ExactIndex(embeddings, 3000).search(queries, 5), brute_force(embeddings, queries, 5))


def test_embeddings_on_disk_give_the_same(tmp_path: Path) -> None:
    embeddings, queries = directions(500), directions(9, seed=1)
    wanted = ExactIndex(embeddings, 64).search(queries, 30)
    np.save(tmp_path / "e.npy", embeddings)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r", allow_pickle=False)
    assert_same(ExactIndex(mapped, 64).search(queries, 30), wanted)
    assert_same(ExactIndex(SpooledRows(embeddings), 64).search(queries, 30), wanted)


class Counted:
    """Rows that note how often they are read and how many at a time."""

    def __init__(self, rows: F32) -> None:
        self.rows, self.taken, self.shape = rows, np.zeros(len(rows), int), rows.shape
        self.most = 0

    def __getitem__(self, rows: slice, /) -> F32:
        self.taken[rows] += 1
        self.most = max(self.most, len(self.rows[rows]))
        return self.rows[rows]


def test_embeddings_are_read_once_per_search_and_never_whole() -> None:
    counted = Counted(directions(500))
    ExactIndex(counted, 64, 10).search(directions(95, seed=1), 3)
    assert set(counted.taken.tolist()) == {1} and counted.most == 64


def test_no_queries_give_no_rows() -> None:
    found = ExactIndex(sixteenths(5)).search(np.empty((0, 6), np.float32), 3)
    assert found.index.shape == found.similarity.shape == (0, 3)


def test_order_by_cosine_is_order_by_distance() -> None:
    """Algorithm 1 of the paper takes the Euclidean distance; on unit vectors it is the same."""
    embeddings, queries = directions(200), directions(5, seed=1)
    distance = np.linalg.norm(queries[:, None].astype(np.float64) - embeddings, axis=2)
    found = ExactIndex(embeddings).search(queries, 20)
    np.testing.assert_array_equal(found.index, np.argsort(distance, axis=1)[:, :20])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_queries_that_are_no_numbers_are_refused(value: float) -> None:
    """They are near to nothing; rows that are none would be read by SciPy beyond its memory."""
    queries = np.full((2, 8), value, np.float32)
    rows = np.eye(8, dtype=np.float32)
    with np.errstate(invalid="ignore"), pytest.raises(ReferenceError, match="no neighbours among the spots"):
        ExactIndex(rows).search(queries, 3)
