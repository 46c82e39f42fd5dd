"""The lists of a large reference: when they are used, what they state, and what is refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundle_damage import drop, edit, reattr_array, rewrite, seal, values_of
from large_bundles import LARGE, index_check, index_of

from bleep_cli.base.hashing import sha256_of
from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.index import lists, verified
from bleep_cli.bundle.index.choose import memory_of_index
from bleep_cli.bundle.index.graph import GRAPH
from bleep_cli.bundle.index.lists import CENTRES, LISTS
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.checks.inspection import inspect_bundle
from bleep_cli.choices import Key
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.parts import Built
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import HnswIndex
from bleep_cli.search.hnsw_build import GraphOptions
from bleep_cli.search.lists import ListIndex
from bleep_cli.search.recall import Tuned

MEMBER = f"{LISTS}/member"


@pytest.fixture(scope="module")
def written(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("lists")) / "lists.zarr"
    write_bundle(path, small_built.info, small_built.arrays, exact_up_to=LARGE, graph=GraphOptions())
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(written, tmp_path / "lists.zarr"))


def test_only_a_large_reference_has_lists_and_is_searched_by_them(written: Path, small_bundle: Path) -> None:
    assert LISTS in open_bundle(written).root and LISTS not in open_bundle(small_bundle).root
    bundle = open_bundle(written)
    found = index_of(bundle)
    assert isinstance(found, ListIndex)  # and not the graph, which is there as well
    assert isinstance(index_of(bundle, exact_up_to=252), ExactIndex)
    assert isinstance(bundle.index("expression"), ExactIndex)
    queries = bundle.embeddings("image")[::9]
    exact = ExactIndex(bundle.embeddings("expression")).search(queries, 7)
    np.testing.assert_allclose(found.search(queries, 7).similarity, exact.similarity, atol=1e-5)


@pytest.mark.parametrize("key", ["expression", "image"])
def test_they_state_what_they_reach(small_built: Built, tmp_path: Path, key: Key) -> None:
    write_bundle(tmp_path / "a.zarr", replace(small_built.info, key=key), small_built.arrays, exact_up_to=LARGE)
    bundle = open_bundle(tmp_path / "a.zarr")
    attrs = dict(bundle.array(CENTRES).attrs)
    assert attrs == {
        "key": key,
        "embeddings_sha256": sha256_of(bundle.embeddings(key)),
        "probes": attrs["probes"],
        "recall": attrs["recall"],
        "recall_k": 50,
    }
    assert attrs["recall"] > 0.99
    assert bundle.array(CENTRES).shape == (15, 8)  # √252
    assert isinstance(index_of(bundle, key), ListIndex)


def test_a_graph_is_only_built_where_they_do_not_find_enough(
    small_built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bundle(tmp_path / "a.zarr", small_built.info, small_built.arrays, exact_up_to=LARGE)
    assert GRAPH not in open_bundle(tmp_path / "a.zarr").root
    monkeypatch.setattr(lists, "tune", lambda *_: Tuned(1, 0.5))
    write_bundle(tmp_path / "b.zarr", small_built.info, small_built.arrays, exact_up_to=LARGE)
    bundle = open_bundle(tmp_path / "b.zarr")
    assert bundle.array(CENTRES).attrs["recall"] < 0.99 and GRAPH in bundle.root
    assert isinstance(index_of(bundle), HnswIndex)
    monkeypatch.setattr(bundle_write, "hnsw_available", lambda: False)
    write_bundle(tmp_path / "c.zarr", small_built.info, small_built.arrays, exact_up_to=LARGE)
    assert isinstance(index_of(open_bundle(tmp_path / "c.zarr")), ExactIndex)


def test_they_serve_only_their_own_embeddings(path: Path) -> None:
    assert isinstance(index_of(open_bundle(path), "image"), ExactIndex)
    drop(path, GRAPH)
    rewrite(path, "embeddings/expression", open_bundle(path).embeddings("expression")[::-1])
    seal(path)
    assert isinstance(index_of(open_bundle(path)), ExactIndex)
    assert index_check(path) == (False, "the stored lists belong to other embeddings; they are not used")


def test_lists_of_too_low_a_recall_are_not_used(path: Path) -> None:
    reattr_array(path, CENTRES, recall=0.97)
    seal(path)
    assert isinstance(index_of(open_bundle(path)), HnswIndex)
    drop(path, GRAPH)
    assert isinstance(index_of(open_bundle(path)), ExactIndex)
    assert index_check(path)[1].endswith("search is exact: its recall@50 of 0.97 is under 0.99")


@pytest.mark.parametrize("break_it", ["member", "negative", "centres", "short", "probes", "many probes", "NaN"])
def test_lists_that_do_not_fit_are_refused(path: Path, break_it: str) -> None:
    def put(value: int) -> None:
        edit(path, MEMBER, lambda values: values.__setitem__(3, value))

    match break_it:
        case "member":
            put(15)
        case "negative":
            put(-1)
        case "centres":
            rewrite(path, CENTRES, 2 * values_of(path, CENTRES))
        case "short":
            rewrite(path, MEMBER, values_of(path, MEMBER)[:-1])
        case "probes":
            reattr_array(path, CENTRES, probes=0)
        case "many probes":
            reattr_array(path, CENTRES, probes=10**9)
        case "NaN":
            edit(path, CENTRES, lambda values: values.__setitem__((0, 0), np.nan))
    seal(path)
    with pytest.raises(ReferenceError, match="the arrays of its index/lists do not fit together"):
        index_of(open_bundle(path))
    ok, detail = index_check(path)
    assert not ok and "do not fit together" in detail


@pytest.mark.parametrize("gone", [MEMBER, CENTRES])
def test_lists_without_one_of_their_arrays_are_refused(path: Path, gone: str) -> None:
    drop(path, gone)
    with pytest.raises(ReferenceError, match=gone):
        index_of(open_bundle(path))
    assert not index_check(path)[0]


def test_an_array_in_the_place_of_the_lists_is_refused(path: Path) -> None:
    drop(path, LISTS)
    rewrite(path, LISTS, np.zeros(3, np.float32))
    seal(path)
    with pytest.raises(ReferenceError, match="index/lists"):
        index_of(open_bundle(path))


def test_lists_too_large_for_the_spots_are_refused_before_they_are_unpacked(path: Path) -> None:
    rewrite(path, MEMBER, np.zeros(10_000, np.int32))
    seal(path)
    with pytest.raises(ReferenceError, match="index/lists/member is too large for 252 spots"):
        index_of(open_bundle(path))


def test_verify_looks_at_their_types(path: Path) -> None:
    rewrite(path, MEMBER, values_of(path, MEMBER).astype(np.float64))
    seal(path)
    [found] = [check for check in verify(open_bundle(path)) if check.name == "dtypes"]
    assert not found.ok and MEMBER in found.detail


def test_attributes_that_are_no_numbers_are_an_error(path: Path) -> None:
    reattr_array(path, CENTRES, probes="many")
    with pytest.raises(ReferenceError, match="index/lists: probes is 'many' and no number"):
        index_of(open_bundle(path))


def test_verify_measures_the_recall_anew(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drop(path, GRAPH)
    ok, detail = index_check(path)
    assert ok and detail.startswith("15 lists, recall@50 ")
    assert detail.endswith("search is exact: 252 spots are no more than 100000")
    monkeypatch.setattr(verified, "EXACT_UP_TO", LARGE)
    assert index_check(path)[1].endswith("; used")
    wrong = np.random.default_rng(0).permutation(values_of(path, MEMBER))
    rewrite(path, MEMBER, wrong)
    seal(path)
    ok, detail = index_check(path)
    assert not ok and "recall@50 is 0." in detail and "it states" in detail


def test_inspect_tells_of_both(written: Path) -> None:
    record, lines, ok = inspect_bundle(written, verify=True)
    assert ok and record["lists"]["recall"] > 0.99 and record["index"]["ef"] == 64
    [line] = [line for line in lines if line.startswith("  index: ")]
    assert line.startswith("  index: lists, ") and "; HNSW, M 16, ef 64" in line
    assert any("the lists come first" in line for line in lines)


def test_memory_is_that_of_the_rows_and_their_places(written: Path) -> None:
    bundle = open_bundle(written)
    rows = bundle.embedding_rows("expression")
    assert memory_of_index(bundle.root, rows, LARGE) == 252 * (4 * 8 + 3 * 8)
