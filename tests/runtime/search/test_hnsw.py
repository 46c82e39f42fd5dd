"""HNSW search against exact search, the choice of ef, and graphs that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.errors import ReferenceError
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import EFS, LEGACY_EF, HnswIndex, load_graph
from bleep_cli.search.hnsw_build import GraphOptions, build_graph
from bleep_cli.search.recall import RECALL_TARGET, recall_at, tune
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32


def directions(n: int, d: int = 16, seed: int = 0) -> F32:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


def graph_of(embeddings: F32, folder: Path, **options: int) -> Any:
    return load_graph(build_graph(embeddings, folder, GraphOptions(**options)), *embeddings.shape)


def test_hnsw_finds_what_exact_search_finds(tmp_path: Path) -> None:
    embeddings, queries = directions(1500), directions(40, seed=1)
    found = HnswIndex(graph_of(embeddings, tmp_path)).search(queries, 50)
    wanted = ExactIndex(embeddings).search(queries, 50)
    assert recall_at(found.index, wanted.index).mean() > 0.99
    assert (np.diff(found.similarity, axis=1) <= 0).all()
    same = found.index == wanted.index
    np.testing.assert_allclose(found.similarity[same], wanted.similarity[same], atol=1e-6)
    assert (found.index.dtype, found.similarity.dtype) == (np.int64, np.float32)


class Recorder:
    """Stands before an hnswlib index and notes the ef it is given."""

    def __init__(self, index: Any) -> None:
        self.index, self.efs = index, []

    def set_ef(self, ef: int) -> None:
        self.efs.append(ef)
        self.index.set_ef(ef)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.index, name)


@pytest.mark.parametrize(
    ("stated", "k", "ef"), [(LEGACY_EF, 1, 400), (120, 50, 120), (120, 100, 240), (64, 75, 96), (60, 499, 599)]
)
def test_hnsw_sets_its_ef_before_every_search(tmp_path: Path, stated: int, k: int, ef: int) -> None:
    """A loaded index has hnswlib's own ef of 10 again; more neighbours than 50 need more of it."""
    embeddings = directions(500)
    recorder = Recorder(graph_of(embeddings, tmp_path))
    found = HnswIndex(recorder, stated).search(embeddings[:3], k)
    assert recorder.efs == [ef]
    assert found.index.shape == (3, k)
    assert found.index[:, 0].tolist() == [0, 1, 2]


def test_hnsw_more_neighbours_than_rows(tmp_path: Path) -> None:
    embeddings = directions(7)
    found = HnswIndex(graph_of(embeddings, tmp_path)).search(embeddings[:2], 50)
    assert sorted(found.index[0].tolist()) == list(range(7))


def test_hnsw_orders_ties_by_index(tmp_path: Path) -> None:
    embeddings = np.repeat(directions(2), 20, axis=0)
    found = HnswIndex(graph_of(embeddings, tmp_path)).search(embeddings[:1], 20)
    assert found.index.tolist() == [list(range(20))]


def test_no_queries_give_no_rows(tmp_path: Path) -> None:
    found = HnswIndex(graph_of(directions(30), tmp_path)).search(np.empty((0, 16), np.float32), 3)
    assert found.index.shape == found.similarity.shape == (0, 3)


# --- ef


def test_recall_counts_the_wanted_rows_that_were_found() -> None:
    found, wanted = np.array([[3, 1, 7], [4, 5, 6]]), np.array([[1, 2, 3], [6, 5, 4]])
    np.testing.assert_allclose(recall_at(found, wanted), [2 / 3, 1])


def test_ef_is_the_smallest_that_reaches_the_target(tmp_path: Path) -> None:
    """On a graph so thin that small values of ef miss it."""
    embeddings, queries = directions(4000), directions(200, seed=1)
    graph = graph_of(embeddings, tmp_path, m=4, ef_construction=10)
    wanted = ExactIndex(embeddings).search(queries, 50).index
    tuned = tune(lambda ef: HnswIndex(graph, ef).search(queries, 50).index, wanted, EFS)
    before = EFS[EFS.index(tuned.effort) - 1]
    found = [HnswIndex(graph, ef).search(queries, 50).index for ef in (before, tuned.effort)]
    short, enough = (recall_at(index, wanted) for index in found)
    assert tuned.effort > EFS[0]
    assert enough.mean() - 2 * enough.std() / np.sqrt(200) >= RECALL_TARGET
    assert short.mean() - 2 * short.std() / np.sqrt(200) < RECALL_TARGET
    assert tuned.recall == pytest.approx(enough.mean(), abs=1e-4)


def test_a_target_out_of_reach_gives_the_last_ef_and_its_recall(tmp_path: Path) -> None:
    embeddings, queries = directions(4000), directions(100, seed=1)
    graph = graph_of(embeddings, tmp_path, m=2, ef_construction=4)
    wanted = ExactIndex(embeddings).search(queries, 50).index
    tuned = tune(lambda ef: HnswIndex(graph, ef).search(queries, 50).index, wanted, (50, 60))
    assert tuned.effort == 60 and 0 < tuned.recall < RECALL_TARGET


# --- graphs that do not fit


@pytest.mark.parametrize(("rows", "dim"), [(40, 8), (40, 32), (39, 16), (41, 16)])
def test_a_graph_of_other_embeddings_is_refused(tmp_path: Path, rows: int, dim: int) -> None:
    """hnswlib itself loads it and then answers with noise."""
    file = build_graph(directions(40), tmp_path, GraphOptions())
    with pytest.raises(ReferenceError, match=f"not one of {rows} vectors of {dim} dimensions"):
        load_graph(file, rows, dim)


def test_a_truncated_graph_is_refused(tmp_path: Path) -> None:
    file = build_graph(directions(40), tmp_path, GraphOptions())
    data = file.read_bytes()
    file.write_bytes(data[:-100])
    with pytest.raises(ReferenceError, match="cannot be used: it ends too early"):
        load_graph(file, 40, 16)
    file.write_bytes(data[:20])
    with pytest.raises(ReferenceError, match="cannot be used: it has no header"):
        load_graph(file, 40, 16)
