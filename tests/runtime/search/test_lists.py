"""Search by lists: exact where all are looked into, near it where some are, in memory and from a file alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bleep_cli.base.hashing import sha256_of
from bleep_cli.search import lists as search_lists
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.lists import ListIndex, Lists, make_lists
from bleep_cli.search.recall import recall_at
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32

HELD = 1 << 30


def clustered(n: int, seed: int = 0, dim: int = 16) -> F32:
    """Unit vectors around twelve directions."""
    centres = np.random.default_rng(7).standard_normal((12, dim))
    rng = np.random.default_rng(seed)
    near = centres[rng.integers(0, 12, n)] + 0.6 * rng.standard_normal((n, dim))
    return unit(near.astype(np.float32))


@pytest.fixture(scope="module")
def rows() -> F32:
    return clustered(6000)


@pytest.fixture(scope="module")
def made(rows: F32) -> Lists:
    return make_lists(rows)


def test_every_row_is_in_the_list_of_its_nearest_centre(rows: F32, made: Lists) -> None:
    assert made.centres.shape == (77, 16) and made.member.dtype == np.int32
    np.testing.assert_allclose(np.linalg.norm(made.centres, axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(made.member, (rows @ made.centres.T).argmax(axis=1))
    assert np.bincount(made.member, minlength=77).max() < 6000 / 5
    again = make_lists(rows)
    np.testing.assert_array_equal(again.centres, made.centres)


@pytest.mark.parametrize("held_bytes", [HELD, 0])
def test_all_lists_give_the_exact_answer(rows: F32, made: Lists, held_bytes: int) -> None:
    queries = clustered(300, seed=1)
    index = ListIndex(rows, replace(made, probes=77), held_bytes)
    for k in (1, 50, 700):
        found, exact = index.search(queries, k), ExactIndex(rows).search(queries, k)
        np.testing.assert_allclose(found.similarity, exact.similarity, atol=1e-6)
        assert recall_at(found.index, exact.index).mean() > 0.9999
    assert index.embeddings_sha256 == sha256_of(rows)


def test_some_lists_find_most_and_more_find_more(rows: F32, made: Lists) -> None:
    queries = clustered(400, seed=2)
    wanted = ExactIndex(rows).search(queries, 50).index
    index = ListIndex(rows, made, HELD)
    recall = [float(recall_at(index.at(probes).search(queries, 50).index, wanted).mean()) for probes in (1, 4, 16)]
    assert recall[0] < recall[1] < recall[2]
    assert recall[2] > 0.95
    assert index.lists.probes == 1  # as it was


def test_more_neighbours_look_into_more_lists(rows: F32, made: Lists) -> None:
    queries = clustered(100, seed=3)
    index = ListIndex(rows, replace(made, probes=8), HELD)
    wanted = ExactIndex(rows).search(queries, 400).index
    assert recall_at(index.search(queries, 400).index, wanted).mean() > 0.95


def test_there_are_always_as_many_as_are_asked_for(rows: F32) -> None:
    """Of lists of a row each, and of empty ones."""
    few = rows[:40]
    lists = Lists(few[:20].copy(), np.repeat(np.arange(10, dtype=np.int32), 4), 1)
    found = ListIndex(few, lists, HELD).search(clustered(30, seed=4), 25)
    assert found.index.shape == (30, 25)
    assert all(len(set(row)) == 25 for row in found.index.tolist())
    whole = ListIndex(few, lists, HELD).search(clustered(3, seed=4), 100)
    np.testing.assert_array_equal(np.sort(whole.index, axis=1), np.tile(np.arange(40), (3, 1)))


def test_equal_rows_come_in_their_order() -> None:
    rows = np.repeat(clustered(5), 6, axis=0)
    lists = replace(make_lists(rows), probes=5)
    found = ListIndex(rows, lists, HELD).search(rows[:1], 6)
    np.testing.assert_array_equal(found.index, [[0, 1, 2, 3, 4, 5]])


def test_little_memory_gives_the_same(rows: F32, made: Lists, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = clustered(200, seed=5)
    index = ListIndex(rows, replace(made, probes=6), HELD)
    whole = index.search(queries, 20)
    monkeypatch.setattr(search_lists, "FOUND_BYTES", 1 << 14)
    parts = index.search(queries, 20)
    np.testing.assert_array_equal(parts.index, whole.index)
    np.testing.assert_allclose(parts.similarity, whole.similarity, atol=1e-6)


def test_no_queries_and_a_single_row(rows: F32, made: Lists) -> None:
    assert ListIndex(rows, made, HELD).search(rows[:0], 5).index.shape == (0, 5)
    assert ListIndex(rows[:1], make_lists(rows[:1]), HELD).search(rows[:2], 5).index.tolist() == [[0], [0]]


@pytest.mark.parametrize("held_bytes", [HELD, 0])
def test_the_vectors_of_rows_are_at_hand(rows: F32, made: Lists, held_bytes: int) -> None:
    asked = np.random.default_rng(0).integers(0, len(rows), (7, 3))
    np.testing.assert_array_equal(ListIndex(rows, made, held_bytes).vectors(asked), rows[asked])
