"""The graph of a large reference without lists: when there is one and is used, what it states, checkpoints."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from bundle_damage import drop, reattr_array, rewrite, seal, values_of
from large_bundles import LARGE, index_check, index_of

from bleep_cli.base.hashing import sha256_of
from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.index import choose, verified
from bleep_cli.bundle.index import graph as stored_graphs
from bleep_cli.bundle.index.choose import memory_of_index
from bleep_cli.bundle.index.graph import GRAPH, why_exact
from bleep_cli.bundle.index.lists import LISTS
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import graph_folder, write_bundle
from bleep_cli.checks.inspection import inspect_bundle
from bleep_cli.choices import Key
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.parts import Built
from bleep_cli.search import hnsw_build
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.graph_file import HEADER
from bleep_cli.search.hnsw import HnswIndex
from bleep_cli.search.hnsw_build import GraphOptions, library_version

OPTIONS = GraphOptions(save_every=60)


@pytest.fixture(scope="module")
def written(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("graph")) / "graph.zarr"
    write_bundle(path, small_built.info, small_built.arrays, exact_up_to=LARGE, graph=OPTIONS)
    drop(path, LISTS)  # which would come first
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(written, tmp_path / "graph.zarr"))


# --- when there is one


def test_only_a_large_reference_has_a_graph(written: Path, small_bundle: Path) -> None:
    assert GRAPH in open_bundle(written).root and GRAPH not in open_bundle(small_bundle).root
    assert index_check(small_bundle) == (True, "none stored; search is exact, recall@50 1.000")


def test_without_hnswlib_there_is_none(
    small_built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_write, "hnsw_available", lambda: False)
    write_bundle(tmp_path / "a.zarr", small_built.info, small_built.arrays, exact_up_to=LARGE, graph=OPTIONS)
    assert GRAPH not in open_bundle(tmp_path / "a.zarr").root


@pytest.mark.parametrize("key", ["expression", "image"])
def test_it_states_how_it_was_built_and_what_it_reaches(small_built: Built, tmp_path: Path, key: Key) -> None:
    info, arrays = replace(small_built.info, key=key), small_built.arrays
    write_bundle(tmp_path / "a.zarr", info, arrays, exact_up_to=LARGE, graph=GraphOptions())
    bundle = open_bundle(tmp_path / "a.zarr")
    attrs = dict(bundle.array(GRAPH).attrs)
    assert attrs == {
        "library": "hnswlib",
        "library_version": library_version(),
        "key": key,
        "embeddings_sha256": sha256_of(bundle.embeddings(key)),
        "M": 16,
        "ef_construction": 200,
        "seed": 0,
        "ef": 64,
        "recall": attrs["recall"],
        "recall_k": 50,
        "threads": 1,
        "reproducible": True,
    }
    assert attrs["recall"] > 0.99
    drop(tmp_path / "a.zarr", LISTS)
    assert isinstance(index_of(open_bundle(tmp_path / "a.zarr"), key), HnswIndex)


def test_a_graph_of_several_threads_is_not_called_reproducible(small_built: Built, tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    write_bundle(path, small_built.info, small_built.arrays, exact_up_to=LARGE, graph=GraphOptions(threads=2))
    attrs = open_bundle(path).array(GRAPH).attrs
    assert (attrs["threads"], attrs["reproducible"]) == (2, False)


# --- when it is used


def test_the_stored_graph_answers_as_exact_search(written: Path) -> None:
    bundle = open_bundle(written)
    queries = bundle.embeddings("image")[::9]
    near = index_of(bundle)
    assert isinstance(near, HnswIndex) and near.ef == 64
    exact = ExactIndex(bundle.embeddings("expression")).search(queries, 7)
    found = near.search(queries, 7)
    np.testing.assert_allclose(found.similarity, exact.similarity, atol=1e-5)


def test_a_small_reference_is_searched_exactly_even_with_a_graph(written: Path) -> None:
    bundle = open_bundle(written)
    assert isinstance(index_of(bundle, exact_up_to=252), ExactIndex)
    assert isinstance(index_of(bundle, exact_up_to=251), HnswIndex)
    assert isinstance(bundle.index("expression"), ExactIndex)


def test_the_graph_serves_only_its_own_embeddings(path: Path) -> None:
    bundle = open_bundle(path)
    assert isinstance(index_of(bundle, "image"), ExactIndex)
    embeddings = bundle.embeddings("expression")
    rewrite(path, "embeddings/expression", embeddings[::-1])
    seal(path)
    bundle = open_bundle(path)
    assert why_exact(bundle.array(GRAPH), bundle.embedding_rows("expression")) == "it belongs to other embeddings"
    found = index_of(bundle).search(embeddings[:3], 1)
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)
    assert index_check(path) == (False, "the stored HNSW graph belongs to other embeddings; it is not used")


def test_a_graph_of_too_low_a_recall_is_not_used(path: Path) -> None:
    reattr_array(path, GRAPH, recall=0.97)
    seal(path)
    assert isinstance(index_of(open_bundle(path)), ExactIndex)
    assert index_check(path)[1].endswith("; search is exact: its recall@50 of 0.97 is under 0.99")


def test_a_graph_without_ef_and_recall_is_searched_as_in_format_1_0(path: Path) -> None:
    old = {"library": "hnswlib", "key": "expression"}
    old["embeddings_sha256"] = sha256_of(open_bundle(path).embeddings("expression"))
    reattr_array(path, GRAPH, only=old)
    found = index_of(open_bundle(path))
    assert isinstance(found, HnswIndex) and found.ef == 400


def test_a_group_in_the_place_of_the_graph_is_none(path: Path) -> None:
    root = zarr.open_group(path, mode="r+")
    del root[GRAPH]
    root.create_group(GRAPH)
    bundle = open_bundle(path)
    assert isinstance(index_of(bundle), ExactIndex)
    assert memory_of_index(bundle.root, bundle.embedding_rows("expression"), LARGE) == 4 * 252 * 8
    assert index_check(path) == (False, "graph.zarr: index/hnsw is no array")


@pytest.mark.parametrize("name", ["recall", "ef"])
def test_attributes_that_are_no_numbers_are_an_error(path: Path, name: str) -> None:
    reattr_array(path, GRAPH, **{name: "high"})
    with pytest.raises(ReferenceError, match=f"^index/hnsw: {name} is 'high' and no number"):
        index_of(open_bundle(path))


def test_without_hnswlib_search_is_exact(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_graphs, "hnsw_available", lambda: False)
    monkeypatch.setattr(verified, "hnsw_available", lambda: False)
    assert isinstance(index_of(open_bundle(written)), ExactIndex)
    assert index_check(written) == (True, "HNSW stored; hnswlib is not installed")


def test_embeddings_that_do_not_fit_are_searched_from_a_file(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle(written)
    queries = bundle.embeddings("image")[:20]
    held = bundle.index("expression").search(queries, 9)
    monkeypatch.setattr(choose, "HELD_BYTES", 4 * 252 * 8 - 1)
    monkeypatch.setattr(choose, "SpooledRows", spooled := Spy(choose.SpooledRows))
    found = bundle.index("expression").search(queries, 9)
    assert spooled.calls == 1
    np.testing.assert_array_equal(found.index, held.index)
    np.testing.assert_array_equal(found.similarity, held.similarity)


class Spy:
    def __init__(self, real: Any) -> None:
        self.real, self.calls = real, 0

    def __call__(self, *args: Any) -> Any:
        self.calls += 1
        return self.real(*args)


def test_memory_is_that_of_what_is_held(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = open_bundle(written)
    rows = bundle.embedding_rows("expression")
    assert memory_of_index(bundle.root, rows) == 4 * 252 * 8
    assert memory_of_index(bundle.root, rows, LARGE) == len(values_of(written, GRAPH))
    monkeypatch.setattr(choose, "HELD_BYTES", 1000)
    assert memory_of_index(bundle.root, rows) == 1000


# --- what is checked


@pytest.mark.parametrize("break_it", ["a flipped bit", "another graph"])
def test_a_damaged_graph_is_an_error(path: Path, small_built: Built, tmp_path: Path, break_it: str) -> None:
    if break_it == "a flipped bit":
        [file] = [entry for entry in (path / GRAPH / "c").rglob("*") if entry.is_file()]
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0x10
        file.write_bytes(bytes(data))
    else:
        file = hnsw_build.build_graph(small_built.arrays.image_embeddings[:200], tmp_path / "w", OPTIONS)
        rewrite(path, GRAPH, np.fromfile(file, np.uint8))
    reason = "index/hnsw is damaged" if break_it == "a flipped bit" else "not one of 252 vectors of 8 dimensions"
    with pytest.raises(ReferenceError, match=reason):
        index_of(open_bundle(path))
    ok, detail = index_check(path)
    assert not ok and reason in detail


@pytest.mark.slow
def test_verify_measures_the_recall_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ok, detail = index_check(path)
    assert ok and detail.startswith("HNSW recall@50 ") and float(detail.split()[2]) > 0.99
    assert detail.endswith("at ef 64; search is exact: 252 spots are no more than 100000")
    monkeypatch.setattr(verified, "EXACT_UP_TO", LARGE)
    assert index_check(path)[1].endswith("at ef 64; used")
    values = values_of(path, GRAPH).copy()  # links that lead anywhere: recall of chance
    rows = values[HEADER.itemsize :][: 252 * (4 + 32 * 4 + 8 * 4 + 8)].reshape(252, -1)
    links = np.ascontiguousarray(rows[:, 4 : 4 + 32 * 4]).view("<u4")
    links[:] = np.random.default_rng(0).integers(0, 252, links.shape)
    rows[:, 4 : 4 + 32 * 4] = links.view(np.uint8)
    rewrite(path, GRAPH, values)
    seal(path)
    ok, detail = index_check(path)
    assert not ok and "recall@50 is 0." in detail and "states 1.0" in detail


def test_inspect_tells_of_the_index(written: Path, small_bundle: Path) -> None:
    record, lines, _ = inspect_bundle(written)
    assert record["index"]["recall"] > 0.99 and record["index"]["ef"] == 64
    assert "  index: HNSW, M 16, ef 64, recall@50 1.0" in lines
    record, lines, _ = inspect_bundle(small_bundle)
    assert record["index"] is None and "  index: none, search is exact" in lines
    _, lines, ok = inspect_bundle(written, verify=True)
    assert ok and any("ok     index: HNSW recall@50" in line for line in lines)


# --- checkpoints


class Interrupt:
    """Interrupts the building of the graph at a row, and notes where it starts."""

    def __init__(self, at: int | None = None) -> None:
        self.at = at
        self.seen: list[int] = []

    def __call__(self, stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("index", 252)
        if done == self.at:
            raise KeyboardInterrupt
        self.seen.append(done)


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_an_interrupted_writing_goes_on_from_its_graph(
    small_built: Built, written: Path, tmp_path: Path, name: str
) -> None:
    path, info, arrays = tmp_path / name, small_built.info, small_built.arrays
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, info, arrays, exact_up_to=LARGE, graph=OPTIONS, progress=Interrupt(180))
    assert list(tmp_path.iterdir()) == [graph_folder(path)]
    steps = Interrupt()
    write_bundle(path, info, arrays, exact_up_to=LARGE, graph=OPTIONS, progress=steps)
    assert steps.seen[0] == 180
    resumed, whole = (open_bundle(bundle).array(GRAPH)[:] for bundle in (path, written))
    np.testing.assert_array_equal(resumed, whole)  # as if nothing had happened
    assert list(tmp_path.iterdir()) == [path]


def test_the_graph_of_another_reference_is_not_taken(small_built: Built, tmp_path: Path) -> None:
    path, info, arrays = tmp_path / "a.zarr", small_built.info, small_built.arrays
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, info, arrays, exact_up_to=LARGE, graph=OPTIONS, progress=Interrupt(180))
    other = replace(arrays, expression_embeddings=arrays.expression_embeddings[::-1])
    steps = Interrupt()
    write_bundle(path, info, other, exact_up_to=LARGE, graph=OPTIONS, progress=steps)
    assert steps.seen[0] == 0
    assert index_check(path)[0]
