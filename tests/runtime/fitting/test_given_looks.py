"""Looks beside towers that tell none: what the towers give stays, precisions tell the same, parts still merge."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from absent_packages import without
from PIL import Image

from bleep_cli import api
from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import see_sections
from bleep_cli.fitting.backbone import TILE_PX
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.given_looks import FEATURES, LEAST_PX, tower_with_looks, with_fitted_looks, with_raw_looks
from bleep_cli.fitting.looks import LooksHead, fit_looks, stain_of
from bleep_cli.reference.build import build_reference
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.towers.encoder import OnnxEncoder, gives_as
from bleep_cli.towers.levels import FINE, LEVEL_DIMS, width_scale
from bleep_cli.towers.precision import Cost, OtherTower
from bleep_cli.types import Section, TileSpec

MakeEncoders = Callable[..., Encoders]


@pytest.fixture(scope="module")
def encoders(make_encoders: MakeEncoders) -> Encoders:
    """Towers, and the image tower again as if at another precision."""
    made = make_encoders()
    return replace(made, others={"int8": OtherTower(made.image, Cost(1.0, 1.0, 0.0, "made up"))})


@pytest.fixture(scope="module")
def bundle(small_cohort: Path, encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    built = api.build_reference(small_cohort, encoders, device="cpu", progress=False)
    assert "looks-missing" not in {finding.code for finding in built.findings}
    return api.open_bundle(api.write(built, tmp_path_factory.mktemp("looks") / "given.zarr"))


@pytest.mark.parametrize(("px", "fields"), [(16, 2), (96, 1)])
def test_the_tower_gives_what_it_gave_and_the_backbone_what_it_gives(
    make_encoders: MakeEncoders, px: int, fields: int
) -> None:
    plain = make_encoders(TileSpec(px, (64.0, 128.0)[:fields]))
    looking, told = with_raw_looks(plain)
    tiles = np.random.default_rng(1).integers(0, 256, (5, px, px, 3 * fields), np.uint8)
    tower = OnnxEncoder(looking.image, "cpu")
    seen = tower.see(tiles)
    assert (told, tower.looks) == ((), FEATURES + STAIN)
    np.testing.assert_array_equal(seen[:, : tower.dim], OnnxEncoder(plain.image, "cpu").embed(tiles))
    np.testing.assert_allclose(seen[:, -STAIN:], stain_of(tiles), atol=2e-5)
    net = onnx.load_from_string(asset(BACKBONE).read_bytes())
    edge = max(px, LEAST_PX)
    for axis in (1, 2):
        net.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = edge
    smallest = [Image.fromarray(t).resize((edge, edge), Image.Resampling.BILINEAR) for t in tiles[..., :3]]
    wanted = OnnxEncoder(net.SerializeToString(), "cpu").embed(np.stack([np.asarray(tile) for tile in smallest]))
    found = seen[:, tower.dim : -STAIN]
    if px >= LEAST_PX:
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.98  # an enlarged pixel may be a step off
    assert gives_as(looking.image) == gives_as(plain.image)
    assert with_raw_looks(looking) == (looking, ())


def test_they_are_whitened_on_the_reference_and_calibrated_by_its_donors(
    bundle: Bundle, encoders: Encoders, small_sections: list[Section]
) -> None:
    stored = bundle.looks()
    assert stored is not None
    raw = embedder_of(with_raw_looks(encoders)[0].image, "cpu")
    _, seen = see_sections(small_sections, raw, encoders.tile, bundle.info.views)
    head = fit_looks(seen[:, :FEATURES], width_scale(LEVEL_DIMS), seen[:, FEATURES:], FINE)
    np.testing.assert_allclose(stored.tiles, head(seen[:, :FEATURES], seen[:, FEATURES:]), atol=2e-2)
    assert (stored.by, len(stored.spot)) == ("donor", bundle.n_spots)
    assert [check for check in verify(bundle) if not check.ok] == []
    plain = embedder_of(encoders.image, "cpu")
    vectors, _ = see_sections(small_sections, plain, encoders.tile, bundle.info.views)
    np.testing.assert_allclose(bundle.embeddings("image"), vectors, atol=1e-6)
    assert bundle.info.reliability["towers"] == "seen"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_predictions_at_every_precision_say_what_is_strange(
    bundle: Bundle, query_slide: Path, precision: str
) -> None:
    options = api.PredictOptions(device="cpu", precision=precision)  # type: ignore[arg-type]
    found = api.Predictor(bundle, options).predict(query_slide)
    assert {"ood_score", "ood_p", "ood"} <= set(found.obs)
    assert np.isfinite(found.obs["ood_score"]).all()
    (said,) = (found.provenance["reliability"][part] for part in ("tiles",))
    assert said["reference_tiles"] == bundle.n_spots


def test_parts_of_one_tower_merge_and_those_of_other_towers_do_not(
    small_sections: list[Section], encoders: Encoders, bundle: Bundle, tmp_path: Path
) -> None:
    looking, told = with_raw_looks(encoders)
    parts = []
    for name, some in (("a", small_sections[:1]), ("b", small_sections[1:])):
        built = with_fitted_looks(build_reference(some, looking, device="cpu"), encoders, told)
        parts.append(api.open_bundle(api.write(with_reliability(built), tmp_path / f"{name}.zarr")))
    assert parts[0].tower("image") != parts[1].tower("image")
    merged = api.merge_references(parts)
    again = api.open_bundle(api.write(merged, tmp_path / "merged.zarr"))
    assert [check for check in verify(again) if not check.ok] == []
    np.testing.assert_allclose(again.embeddings("image"), bundle.embeddings("image"), atol=1e-6)
    stored = again.looks()
    assert stored is not None
    assert (again.tower("image"), len(stored.spot)) == (parts[0].tower("image"), parts[0].n_spots)
    assert again.other_towers() == parts[0].other_towers()
    (told_of,) = (finding for finding in merged.findings if finding.code == "looks-part")
    assert "a.zarr alone" in told_of.what


def test_without_the_package_onnx_a_reference_is_built_and_says_what_it_lacks(
    small_cohort: Path, encoders: Encoders, tmp_path: Path
) -> None:
    encoders.save(tmp_path / "encoders")
    code = without(
        ["onnx"],
        f"""
from bleep_cli import api
built = api.build_reference({str(small_cohort)!r}, {str(tmp_path / "encoders")!r}, device="cpu", progress=False)
api.write(built, {str(tmp_path / "plain.zarr")!r})
print([f.what for f in built.findings if f.code == "looks-missing"])
""",
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "extra build" in done.stdout
    plain = api.open_bundle(tmp_path / "plain.zarr")
    assert plain.looks() is None
    assert (plain.tower("image"), plain.other_towers()) == (encoders.image, encoders.others)
    assert [check for check in verify(plain) if not check.ok] == []


def test_tiles_that_somebody_else_embedded_may_come_without_looks(
    small_sections: list[Section], encoders: Encoders
) -> None:
    looking, told = with_raw_looks(encoders)
    vectors = build_reference(small_sections, encoders, device="cpu").arrays.image_embeddings
    built = build_reference(small_sections, looking, device="cpu", embed_images=lambda _: (vectors, None))
    found = with_fitted_looks(built, encoders, told)
    assert (found.looks, found.arrays.image_tower, found.arrays.other_towers) == (
        None,
        encoders.image,
        encoders.others,
    )
    assert found.findings[-1].code == "looks-missing"


def test_a_tower_on_that_very_backbone_shares_it() -> None:
    """Of one field: a second pass through the same network would give the same features."""
    tower = asset(BACKBONE).read_bytes()
    looking = tower_with_looks(tower, TILE_PX, LooksHead(as_they_are(FEATURES), as_they_are(STAIN)))
    kinds = [[node.op_type for node in onnx.load_from_string(model).graph.node] for model in (tower, looking)]
    assert kinds[0].count("Conv") == kinds[1].count("Conv") > 40
    assert len(looking) < len(tower) + 3_000_000  # what tells the looks as they are, 744 x 744 numbers
    tiles = np.random.default_rng(1).integers(0, 256, (3, TILE_PX, TILE_PX, 3), np.uint8)
    seen, features = OnnxEncoder(looking, "cpu").see(tiles), OnnxEncoder(tower, "cpu").embed(tiles)
    np.testing.assert_array_equal(seen[:, :FEATURES], features)
    np.testing.assert_allclose(seen[:, FEATURES:-STAIN], features, atol=1e-5)


def as_they_are(dim: int) -> LinearHead:
    return LinearHead(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
