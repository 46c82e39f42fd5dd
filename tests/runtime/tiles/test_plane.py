"""Which corner a mask and given positions count from, and tiles where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tissue import GLASS, disc, find_on, stain
from PIL import Image
from slide_files import write_scn

from bleep_cli.errors import SlideError, UsageError
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan, plan
from bleep_cli.slide.open import open_slide
from bleep_cli.types import U8, TileSpec

SIZE, CORNER, PART = (4000, 3000), (1500, 1000), (1024, 768)  # level-0 px of 1 µm
SPEC = TileSpec(16, (64.0,))


def tissue() -> U8:
    """The scanned part: an ellipse's worth of tissue on glass."""
    rgb = stain(disc(64, 48, 40, 128, 96))
    return np.asarray(Image.fromarray(rgb).resize(PART, Image.Resampling.NEAREST))


@pytest.fixture(scope="module")
def scn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scn(tmp_path_factory.mktemp("scn") / "a.scn", tissue(), SIZE, CORNER, 1.0)


def box(x: float, y: float, w: float, h: float) -> dict[str, Any]:
    ring = [[x, y], [x + w, y], [x + w, y + h], [x, y + h], [x, y]]
    return {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [ring]}}


def outline(folder: Path, *shapes: Any) -> Path:
    path = folder / "mask.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": list(shapes)}), encoding="utf-8")
    return path


def table(folder: Path, xy: Any, in_tissue: Any = None) -> Path:
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    seen = [1] * len(xy) if in_tissue is None else in_tissue
    rows += [f"s{i},{t},{i},0,{y},{x}" for i, ((x, y), t) in enumerate(zip(xy, seen, strict=True))]
    (folder / "tissue_positions.csv").write_text("\n".join(rows) + "\n")
    return folder / "tissue_positions.csv"


def planned(slide: Path, small_info: Any, **options: Any) -> Plan:
    ready = plan(slide, small_info, PredictOptions(**options))
    ready.slide.close()
    return ready


@pytest.fixture
def lay(small_bundle: Path) -> Callable[..., Plan]:
    """``lay(slide, **options)`` → its plan by the small bundle, whose tiles are 64 µm."""
    from bleep_cli.bundle.open import open_bundle

    info = open_bundle(small_bundle).info
    assert info.tile == SPEC
    return lambda slide, **options: planned(slide, info, **options)


def codes(ready: Plan) -> dict[str, str]:
    return {finding.code: finding.severity for finding in ready.findings}


INSIDE = box(300, 200, 400, 350)  # on tissue, in QuPath's plane
SAME = box(300 + CORNER[0], 200 + CORNER[1], 400, 350)


def test_the_slide_has_the_bounds_that_are_meant(scn: Path) -> None:
    slide = open_slide(scn)
    try:
        assert (slide.size_l0, slide.bounds_l0, slide.mpp) == (SIZE, (*CORNER, *PART), 1.0)
    finally:
        slide.close()


@pytest.mark.parametrize(("shape", "corner"), [(INSIDE, "the scanned part"), (SAME, "the slide")])
def test_an_outline_is_laid_where_the_tissue_is(
    scn: Path, tmp_path: Path, lay: Callable[..., Plan], shape: Any, corner: str
) -> None:
    ready = lay(scn, mask=outline(tmp_path, shape))
    low, high = ready.grid.centre_l0.min(axis=0), ready.grid.centre_l0.max(axis=0)
    assert (low >= np.add(CORNER, (300, 200))).all() and (high <= np.add(CORNER, (700, 550))).all()
    assert len(ready.grid) in range(30, 40)  # 34 tiles of 64 µm
    assert ready.obs["on_glass"].max() < 0.5
    assert codes(ready) == {"plane-taken": "note"}
    assert f"count from the corner of {corner}" in ready.findings[0].what


@pytest.mark.parametrize(("xy", "corner"), [((0, 0), "the slide"), (CORNER, "the scanned part")])
def test_positions_are_laid_where_the_tissue_is(
    scn: Path, tmp_path: Path, lay: Callable[..., Plan], xy: tuple[int, int], corner: str
) -> None:
    spots = np.array([(350.0, 250.0), (500.0, 400.0), (600.0, 500.0)]) + CORNER
    ready = lay(scn, at=table(tmp_path, spots - xy))
    np.testing.assert_array_equal(ready.grid.centre_l0, spots)
    assert codes(ready) == {"plane-taken": "note"}
    assert f"count from the corner of {corner}" in ready.findings[0].what


def test_a_label_picture_of_the_scanned_part_is_laid_over_that_part(
    tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    slide = write_scn(tmp_path / "a.scn", tissue(), (4000, 4000), CORNER, 1.0)
    image = np.zeros((96, 128), np.uint8)
    image[25:68, 38:87] = 255
    Image.fromarray(image).save(tmp_path / "mask.png")
    ready = lay(slide, mask=tmp_path / "mask.png")
    low, high = ready.grid.centre_l0.min(axis=0), ready.grid.centre_l0.max(axis=0)
    assert (low >= np.add(CORNER, (300, 200))).all() and (high <= np.add(CORNER, (700, 550))).all()
    assert codes(ready) == {"plane-taken": "note"}
    with pytest.raises(UsageError, match=r"has 128 × 96 px, .* of a\.scn \(4000 × 4000 px\)"):
        lay(slide, mask=tmp_path / "mask.png", origin="level0")
    similar = write_scn(tmp_path / "b.scn", tissue(), SIZE, CORNER, 1.0)  # 4 : 3 as its part is
    assert codes(lay(similar, mask=tmp_path / "mask.png")) == {"plane-taken": "note"}
    assert len(lay(similar, mask=tmp_path / "mask.png", origin="bounds").grid) == len(ready.grid)


def test_where_both_may_be_right_it_is_warned_of_and_the_option_decides(
    tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    everywhere = np.broadcast_to(np.array([200, 120, 180]), (768, 1024, 3))
    noise = np.random.default_rng(0).normal(0, 12, (768, 1024, 1))
    slide = write_scn(tmp_path / "a.scn", (everywhere + noise).clip(0, 255).astype(np.uint8), SIZE, (64, 64), 1.0)
    mask = outline(tmp_path, box(200, 200, 256, 256))
    ready = lay(slide, mask=mask)
    assert codes(ready)["plane-unsure"] == "warning"
    assert ready.grid.centre_l0.min(axis=0).tolist() == [288, 288]  # QuPath's plane: 264 to 520
    chosen = lay(slide, mask=mask, origin="level0")
    assert chosen.grid.centre_l0.min(axis=0).tolist() == [224, 224]
    assert not codes(chosen) and chosen.options.origin == "level0"
    at = table(tmp_path, [(300, 300), (400, 300)])
    ready = lay(slide, at=at)
    assert codes(ready) == {"plane-unsure": "warning"}
    assert ready.grid.centre_l0.tolist() == [[300, 300], [400, 300]]
    assert lay(slide, at=at, origin="bounds").grid.centre_l0.tolist() == [[364, 364], [464, 364]]


def test_white_that_was_never_scanned_is_never_predicted(
    scn: Path, tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    mask = outline(tmp_path, box(0, 0, 512, 768))
    with pytest.raises(SlideError, match=r"^a\.scn: 96 of 96 tiles hold nothing but glass .* is origin right"):
        lay(scn, mask=mask, origin="level0")
    with pytest.raises(SlideError, match=r"^a\.scn: all 3 positions lie on glass or unscanned pixels"):
        lay(scn, at=table(tmp_path, [(100, 100), (200, 100), (300, 300)]), origin="level0")


def test_a_table_of_qupath_counts_from_the_scanned_part_unless_the_tissue_says_otherwise(
    tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    everywhere = np.random.default_rng(0).normal((200, 120, 180), 12, (768, 1024, 3)).clip(0, 255).astype(np.uint8)
    slide = write_scn(tmp_path / "a.scn", everywhere, SIZE, (64, 64), 1.0)
    at = tmp_path / "measurements.tsv"
    at.write_text("Image\tObject ID\tCentroid X px\tCentroid Y px\na\tq1\t300\t300\na\tq2\t400\t300\n")
    ready = lay(slide, at=at)
    assert ready.grid.centre_l0.tolist() == [[364, 364], [464, 364]] and codes(ready) == {"plane-taken": "note"}
    assert lay(slide, at=at, origin="level0").grid.centre_l0.tolist() == [[300, 300], [400, 300]]


# --- glass and black on slides of one plane


def flat(folder: Path, rgb: U8) -> Path:
    Image.fromarray(rgb).save(folder / "slide.png")
    return folder / "slide.png"


def test_tiles_of_glass_in_a_mask_are_left_out_and_counted(tmp_path: Path, lay: Callable[..., Plan]) -> None:
    slide = flat(tmp_path, stain(disc(70, 70, 40)))
    ready = lay(slide, mpp=8.0, mask=outline(tmp_path, box(0, 0, 240, 140)))
    columns = ready.grid.centre_l0[:, 0]
    assert columns.max() < 120 and 60 < len(ready.grid) < 110  # a disc of 5027 px and its edge, tiles of 8 × 8 px
    told = {finding.code: finding for finding in ready.findings}
    assert told[
        "glass-left-out"
    ].what == f"{30 * 18 - len(ready.grid)} of 540 tiles hold nothing but glass or " + ("unscanned pixels")
    assert {code: f.severity for code, f in told.items()}.items() >= {
        ("glass-left-out", "note"),
        ("mask-everything", "warning"),
    }


def test_pale_tissue_that_is_not_told_from_glass_is_kept_for_a_mask(
    tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    """Where no tissue is found by colour, help says to outline it: what is outlined has to stay."""
    rng = np.random.default_rng(0)
    pale = (np.array(GLASS) + rng.normal(0, 3, (140, 240, 3))).clip(0, 255).astype(np.uint8)
    ready = lay(flat(tmp_path, pale), mpp=8.0, mask=outline(tmp_path, box(40, 40, 80, 80)))
    assert len(ready.grid) == 100
    told = {finding.code: finding for finding in ready.findings}
    assert told["tiles-on-glass"].severity == "warning"
    assert told["tiles-on-glass"].what.startswith("100 of 100 tiles are 90% or more glass")
    assert ready.obs["on_glass"].tolist() == [1.0] * 100


def test_positions_on_glass_are_flagged_and_those_off_tissue_are_told(
    tmp_path: Path, lay: Callable[..., Plan]
) -> None:
    slide = flat(tmp_path, stain(disc(70, 70, 40)))
    xy = [(70, 70), (60, 80), (200, 70), (220, 30), (10, 10)]
    ready = lay(slide, mpp=8.0, at=table(tmp_path, xy, [1, 1, 1, 1, 0]))
    np.testing.assert_array_equal(ready.obs["on_glass"].round(), [0, 0, 1, 1, 1])
    told = {finding.code: finding for finding in ready.findings}
    assert told["tiles-on-glass"].what.startswith("2 of 5 tiles") and told["tiles-on-glass"].severity == "warning"
    assert told["positions-outside-tissue"].what.startswith("1 of 5 positions lie outside tissue")
    assert told["positions-outside-tissue"].severity == "note"
    assert not codes(lay(slide, mpp=8.0, at=table(tmp_path, xy[:2])))


NOTHING = {
    "black but for a corner": np.where(np.arange(240)[None, :, None] < 230, 16, 200).repeat(140, 0).repeat(3, 2),
    "white": np.full((140, 240, 3), 255),
    "dark": np.where(np.arange(240)[None, :, None] < 230, stain(disc(120, 70, 60)) >> 4, 200),
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_black_or_white_picture_is_never_predicted_on(
    tmp_path: Path, lay: Callable[..., Plan], kind: str
) -> None:
    slide = flat(tmp_path, NOTHING[kind].astype(np.uint8))
    with pytest.raises(SlideError, match=r"^slide\.png: all 2 positions lie on glass or unscanned pixels, white"):
        lay(slide, mpp=8.0, at=table(tmp_path, [(70, 70), (100, 70)]))
    with pytest.raises(SlideError, match=r"100 of 100 tiles hold nothing but glass or unscanned pixels"):
        lay(slide, mpp=8.0, mask=outline(tmp_path, box(40, 40, 80, 80)))


def test_positions_beyond_the_slide_count_as_unscanned(tmp_path: Path, lay: Callable[..., Plan]) -> None:
    slide = flat(tmp_path, stain(disc(70, 70, 40)))
    ready = lay(slide, mpp=8.0, at=table(tmp_path, [(70, 70), (60, 80), (300, 70)]))
    assert ready.obs["on_glass"][2] == 1 and codes(ready) == {"tiles-on-glass": "warning"}


def test_options_that_belong_to_a_mask_or_positions(tmp_path: Path, lay: Callable[..., Plan]) -> None:
    slide = flat(tmp_path, stain(disc(70, 70, 40)))
    with pytest.raises(UsageError, match=r"^at names the places and mask outlines them; give one of both$"):
        lay(slide, at=table(tmp_path, [(70, 70)]), mask=outline(tmp_path, INSIDE))
    with pytest.raises(UsageError, match=r"^mask_class names classes of a mask; give one$"):
        lay(slide, mask_class=("Tumor",))
    with pytest.raises(UsageError, match=r"^origin is of a mask or of at; give one of them$"):
        lay(slide, origin="bounds")


def test_found_tissue_of_a_slide_with_bounds_needs_no_plane(scn: Path) -> None:
    mask = find_on(scn)
    rows, columns = np.nonzero(mask.tissue)
    assert (columns.min() / mask.ground.scale) > CORNER[0] and (rows.min() / mask.ground.scale) > CORNER[1]
    assert not mask.findings
