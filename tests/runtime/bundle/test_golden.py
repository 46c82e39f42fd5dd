"""Bundles of every format version ever shipped stay readable, and answer as they did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_looks import looking
from made_nuclei import small_signature

from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.contents import ENCODING_VERSION
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.index.choose import choose_index
from bleep_cli.bundle.index.graph import GRAPH
from bleep_cli.bundle.index.lists import CENTRES
from bleep_cli.bundle.learned.components import COMPONENTS
from bleep_cli.bundle.learned.components import DTYPES as COMPONENT_DTYPES
from bleep_cli.bundle.learned.looks import AROUND
from bleep_cli.bundle.learned.looks import TILES as LOOKS_TILES
from bleep_cli.bundle.learned.signature import TILES
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.stored import SLOPE
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.choices import Aggregation
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.build import build_reference
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import HnswIndex
from bleep_cli.search.hnsw_build import GraphOptions
from bleep_cli.search.lists import ListIndex
from bleep_cli.types import F32, Section

COMPONENT_PATHS = [f"{COMPONENTS}/{name}" for name in COMPONENT_DTYPES]
GOLDEN = Path(__file__).parents[2] / "golden"
CONTENT = {
    "bundle-1.0.zarr.zip": "6a36170a517b45457290b6242de6c27cdb2f2b661a25078d26f5d00a74e0ea74",
    "bundle-1.1.zarr.zip": "4cb69f79f39a247847857fb63fe5e729d7c27a5d7c4d6f8967d87f0a965bfe5d",
    "bundle-1.2.zarr.zip": "f7c6edfd3387f66b6bdcf23b39be7e284e946595f6bb02f84525822bf8f3d81e",
    "bundle-1.3.zarr.zip": "0fe96831f08e668a73acc7fe267c00f5823c917e6ece01bd357cee7d1f4a2470",
    "bundle-1.4.zarr.zip": "a00bbedadcd15a73e39ec786e20fb5849d31d3a6d7659d9787f3fffdff5decdd",
    "bundle-1.5.zarr.zip": "4343a4b6aa0da746793a859eaaf132612ed53f050950e7cd501b24935eabe15a",
    "bundle-1.6.zarr.zip": "a2147d8aba41c8072357343f41e28e24eefd4a31659b8ccd5411e0c56fd2485e",
    "bundle-1.7.zarr.zip": "78b739a970cda894eb002f308d91ed3cb63f8a8011649f2ec9dd347b10cabd8e",
}


def make_golden(path: Path, section: Section, encoders: Encoders) -> None:
    """The bundle of this version: one section, several chunks of spots and of genes, f16, lists, a graph, a slope,
    components, a signature, numbers per gene and looks.

    A version that is shipped gets its file once, by this function, and a file is never made again.
    """
    built = with_reliability(build_reference([section], looking(encoders), device="cpu"))
    arrays = replace(built.arrays, signature=small_signature())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_write, "EXPRESSION_CHUNK", (40, 5))
        write_bundle(path, built.info, arrays, exact_up_to=10, graph=GraphOptions())


def answer(bundle: Bundle, slide: Path, aggregation: Aggregation | None = None) -> F32:
    """What the bundle predicts, by default in its own way."""
    ready = plan(slide, bundle.info, PredictOptions())
    try:
        prediction = Predictor(bundle, PredictOptions(k=5, views=1, aggregation=aggregation)).predict_plan(ready)
    finally:
        ready.slide.close()
    return np.concatenate([block for _, block in prediction.blocks()])


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_golden_bundle_opens_verifies_and_answers(name: str, query_slide: Path) -> None:
    bundle = open_bundle(GOLDEN / name)
    assert bundle.content_sha256 == CONTENT[name]
    assert name == f"bundle-{bundle.attrs['encoding-version']}.zarr.zip"
    assert [check.name for check in verify(bundle) if not check.ok] == []
    expected = np.load(GOLDEN / name.replace(".zarr.zip", ".npy"), allow_pickle=False)
    np.testing.assert_allclose(answer(bundle, query_slide), expected, atol=1e-4)


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_the_golden_index_is_used_and_finds_what_exact_search_finds(name: str) -> None:
    bundle = open_bundle(GOLDEN / name)
    near = choose_index(bundle.root, name, bundle.embedding_rows("expression"), exact_up_to=10)
    assert isinstance(near, HnswIndex if name < "bundle-1.6" else ListIndex)
    queries = bundle.embeddings("image")
    found = near.search(queries, 5).similarity
    exact = ExactIndex(bundle.embeddings("expression")).search(queries, 5).similarity
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_every_golden_file_is_tested_and_this_version_has_one() -> None:
    assert {path.name for path in GOLDEN.glob("*.zarr.zip")} == set(CONTENT)
    assert f"bundle-{ENCODING_VERSION}.zarr.zip" in CONTENT


def test_the_maker_of_golden_bundles_makes_what_the_last_one_is(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path: Path, query_slide: Path
) -> None:
    make_golden(tmp_path / "g.zarr.zip", small_sections[0], make_encoders(aggregation="projected"))
    made, golden = (
        open_bundle(tmp_path / "g.zarr.zip"),
        open_bundle(GOLDEN / f"bundle-{ENCODING_VERSION}.zarr.zip"),
    )
    further = (GRAPH, CENTRES, SLOPE, *COMPONENT_PATHS, TILES, LOOKS_TILES, AROUND, "genes/heldout_r")
    for name in ("expression", "embeddings/image", *further):
        ours, theirs = made.array(name), golden.array(name)
        assert (ours.shape, ours.chunks, ours.dtype) == (theirs.shape, theirs.chunks, theirs.dtype)
    ours, theirs = (
        answer(bundle, query_slide, "average") for bundle in (made, golden)
    )  # the slope may get better
    np.testing.assert_allclose(ours, theirs, atol=1e-3)
