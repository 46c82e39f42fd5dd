"""Exact search against brute force, ties and blocks; HNSW against exact search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bleep_cli import search
from bleep_cli.encoder import unit
from bleep_cli.errors import DeviceError
from bleep_cli.search import HNSW_EF, ExactIndex, HnswIndex, build_hnsw, load_hnsw, make_index
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


@pytest.mark.parametrize("block_bytes", [1, 4 * 120, 4 * 120 * 7, 4 * 120 * 24])
def test_block_sizes_do_not_change_results(block_bytes: int) -> None:
    embeddings, queries = sixteenths(120), sixteenths(25, seed=1)
    assert_same(
        ExactIndex(embeddings, block_bytes).search(queries, 10), ExactIndex(embeddings).search(queries, 10)
    )


def test_no_queries_give_no_rows() -> None:
    found = ExactIndex(sixteenths(5)).search(np.empty((0, 6), np.float32), 3)
    assert found.index.shape == found.similarity.shape == (0, 3)


def test_order_by_cosine_is_order_by_distance() -> None:
    """Algorithm 1 of the paper takes the Euclidean distance; on unit vectors it is the same."""
    embeddings, queries = directions(200), directions(5, seed=1)
    distance = np.linalg.norm(queries[:, None].astype(np.float64) - embeddings, axis=2)
    found = ExactIndex(embeddings).search(queries, 20)
    np.testing.assert_array_equal(found.index, np.argsort(distance, axis=1)[:, :20])


# --- HNSW


def recall(found: Neighbours, wanted: Neighbours) -> float:
    pairs = zip(found.index, wanted.index, strict=True)
    return float(np.mean([len(np.intersect1d(a, b)) / len(b) for a, b in pairs]))


def test_hnsw_finds_what_exact_search_finds() -> None:
    embeddings, queries = directions(1500), directions(40, seed=1)
    found = load_hnsw(build_hnsw(embeddings), *embeddings.shape).search(queries, 50)
    wanted = ExactIndex(embeddings).search(queries, 50)
    assert recall(found, wanted) > 0.99
    assert (np.diff(found.similarity, axis=1) <= 0).all()
    same = found.index == wanted.index
    np.testing.assert_allclose(found.similarity[same], wanted.similarity[same], atol=1e-6)


class Recorder:
    """Stands before an hnswlib index and notes the ef it is given."""

    def __init__(self, index: Any) -> None:
        self.index, self.efs = index, []

    def set_ef(self, ef: int) -> None:
        self.efs.append(ef)
        self.index.set_ef(ef)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.index, name)


@pytest.mark.parametrize(("k", "ef"), [(1, HNSW_EF), (50, HNSW_EF), (450, 450)])
def test_hnsw_sets_ef_before_every_search(k: int, ef: int) -> None:
    """A loaded index has hnswlib's own ef of 10 again, with which it would miss most neighbours."""
    embeddings = directions(500)
    recorder = Recorder(load_hnsw(build_hnsw(embeddings), *embeddings.shape)._index)
    found = HnswIndex(recorder).search(embeddings[:3], k)
    assert recorder.efs == [ef]
    assert found.index.shape == (3, k)
    assert found.index[:, 0].tolist() == [0, 1, 2]


def test_hnsw_more_neighbours_than_rows() -> None:
    embeddings = directions(7)
    found = load_hnsw(build_hnsw(embeddings), *embeddings.shape).search(embeddings[:2], 50)
    assert sorted(found.index[0].tolist()) == list(range(7))


def test_hnsw_orders_ties_by_index() -> None:
    embeddings = np.repeat(directions(2), 20, axis=0)
    found = load_hnsw(build_hnsw(embeddings), *embeddings.shape).search(embeddings[:1], 20)
    assert found.index.tolist() == [list(range(20))]


def test_hnsw_bytes_depend_on_the_embeddings_alone() -> None:
    embeddings = directions(400)
    first = build_hnsw(embeddings)
    np.testing.assert_array_equal(first, build_hnsw(embeddings.copy()))
    other = embeddings.copy()
    other[17] = -other[17]
    assert first.tobytes() != build_hnsw(other).tobytes()


# --- which of the two


def test_small_references_are_searched_exactly_even_with_a_graph() -> None:
    embeddings = directions(50)
    assert isinstance(make_index(embeddings, build_hnsw(embeddings)), ExactIndex)
    assert isinstance(make_index(embeddings, None, exact_up_to=50), ExactIndex)
    assert isinstance(make_index(embeddings, None, exact_up_to=49), HnswIndex)


def test_a_stored_graph_is_used_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = directions(60)
    stored = build_hnsw(embeddings)
    monkeypatch.setattr(search, "build_hnsw", lambda _: pytest.fail("built again"))
    found = make_index(embeddings, stored, exact_up_to=10).search(embeddings[:4], 3)
    np.testing.assert_array_equal(found.index, ExactIndex(embeddings).search(embeddings[:4], 3).index)


def test_without_hnswlib_search_is_exact_and_building_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "hnsw_available", lambda: False)
    embeddings = directions(60)
    assert isinstance(make_index(embeddings, None, exact_up_to=10), ExactIndex)
    with pytest.raises(DeviceError, match=r"bleep-cli\[hnsw\]"):
        build_hnsw(embeddings)
