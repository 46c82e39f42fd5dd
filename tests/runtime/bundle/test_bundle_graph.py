"""A stored graph that states impossible things, or that is another's: refused, or not used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundle_damage import drop, reattr_array, rewrite, seal
from large_bundles import LARGE, index_of

from bleep_cli.bundle.index.graph import GRAPH
from bleep_cli.bundle.index.lists import LISTS
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.checks.inspection import inspect_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.parts import Built
from bleep_cli.search import hnsw_build
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw_build import GraphOptions

OPTIONS = GraphOptions()


@pytest.fixture
def path(small_built: Built, tmp_path: Path) -> Path:
    write_bundle(tmp_path / "graph.zarr", small_built.info, small_built.arrays, exact_up_to=LARGE, graph=OPTIONS)
    drop(tmp_path / "graph.zarr", LISTS)  # which would come first
    return tmp_path / "graph.zarr"


def test_a_graph_of_the_spots_in_another_order_is_refused(path: Path) -> None:
    """hnswlib takes it, and the rows that it finds are not those that are near."""
    order = np.random.default_rng(0).permutation(252)
    file = hnsw_build.build_graph(open_bundle(path).embeddings("expression")[order], path.parent / "w", OPTIONS)
    rewrite(path, GRAPH, np.fromfile(file, np.uint8))
    seal(path)
    with pytest.raises(ReferenceError, match="its vectors are not the reference's"):
        index_of(open_bundle(path))


@pytest.mark.parametrize("ef", [0, -5, 1e9, float("nan")])
def test_a_width_of_search_beyond_bounds_is_refused(path: Path, ef: float) -> None:
    reattr_array(path, GRAPH, ef=ef)
    with pytest.raises(ReferenceError, match=r"^index/hnsw: ef is .*; 1 to 100000 is searched"):
        index_of(open_bundle(path))


def test_a_graph_that_states_nothing_is_not_used(path: Path) -> None:
    reattr_array(path, GRAPH, only={})
    assert isinstance(index_of(open_bundle(path)), ExactIndex)
    assert "  index: HNSW, of a recall it does not state (verifying measures it)" in inspect_bundle(path)[1]
    reattr_array(path, GRAPH, only={"recall": 1.0})
    assert inspect_bundle(path)[1][3].startswith("  index: HNSW, M ")
