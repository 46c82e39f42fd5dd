"""Mask pictures: which values are tissue in every kind of picture, their proportions, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tissue import H, W, disc, find, overlap, stain
from PIL import Image

from bleep_cli.errors import UsageError
from bleep_cli.tiles.mask import Mask

TRUTH = np.zeros((H, W), bool)
TRUTH[20:60, 160:220] = True
SECOND = np.zeros((H, W), bool)
SECOND[80:120, 20:100] = True
LABELS = (TRUTH + 2 * SECOND).astype(np.uint8)


def read(folder: Path, image: Any, name: str = "mask.png", **saved: Any) -> Mask:
    return choose(folder, image, (), name, **saved)


def choose(folder: Path, image: Any, classes: tuple[str, ...], name: str = "mask.png", **saved: Any) -> Mask:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(folder / name, **saved)
    return find(folder, stain(TRUTH | SECOND), mask=folder / name, classes=classes)


def says(mask: Mask) -> str:
    (told,) = mask.findings
    assert (told.code, told.severity, told.where) == ("mask-values", "note", "slide.png")
    return told.what


@pytest.mark.parametrize("size", [(W, H), (4 * W, 4 * H), (60, 35), (61, 35)])
@pytest.mark.parametrize("ink", [1, 255])
def test_masks_of_any_size_lie_over_the_whole_slide(tmp_path: Path, size: tuple[int, int], ink: int) -> None:
    image = Image.fromarray(TRUTH.astype(np.uint8) * ink).resize(size, Image.Resampling.NEAREST)
    mask = read(tmp_path, image)
    assert overlap(mask.tissue, TRUTH) > (0.99 if size != (61, 35) else 0.9) and not mask.findings


@pytest.mark.parametrize(("width", "height"), [(240, 240), (140, 240), (240, 136), (248, 140)])
def test_other_proportions_than_the_slides_are_refused(tmp_path: Path, width: int, height: int) -> None:
    image = np.zeros((height, width), np.uint8)
    image[20:60, 20:60] = 255
    with pytest.raises(
        UsageError,
        match=rf"^mask: mask\.png has {width} × {height} px, which are not the proportions of slide\.png \(240",
    ):
        read(tmp_path, image)


def test_a_mask_of_one_bit(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path, TRUTH).tissue, TRUTH)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_of_more_than_two_values_all_but_0_are_tissue(tmp_path: Path, dtype: type) -> None:
    mask = read(tmp_path, LABELS.astype(dtype), "mask.tif")
    np.testing.assert_array_equal(mask.tissue, TRUTH | SECOND)
    assert says(mask) == "mask.tif: a picture with 3 values, 0, 1, 2: all but 0 are tissue"


def test_labels_of_16_bits_may_be_thousands(tmp_path: Path) -> None:
    labels = np.where(TRUTH | SECOND, np.arange(W * H).reshape(H, W) + 1, 0).astype(np.uint16)
    np.testing.assert_array_equal(read(tmp_path, labels, "mask.png").tissue, TRUTH | SECOND)


def test_values_are_chosen_by_number(tmp_path: Path) -> None:
    np.testing.assert_array_equal(choose(tmp_path, LABELS, ("1",)).tissue, TRUTH)
    np.testing.assert_array_equal(choose(tmp_path, LABELS, ("2", "1")).tissue, TRUTH | SECOND)
    for wrong in ("3", "Tumor", "-1"):
        with pytest.raises(UsageError, match=rf"^mask_class {wrong}: mask\.png has the values 0, 1, 2$"):
            choose(tmp_path, LABELS, (wrong,))


def test_of_two_values_the_brighter_one_is_tissue(tmp_path: Path) -> None:
    assert says(read(tmp_path, np.where(TRUTH, 2, 1).astype(np.uint8))).endswith("the values 1, 2: 2 is tissue")
    np.testing.assert_array_equal(read(tmp_path, np.where(TRUTH, 2, 1).astype(np.uint8)).tissue, TRUTH)


@pytest.mark.parametrize("colours", [[255, 255, 255, 200, 0, 0, 0, 0, 200], [0, 0, 0, 255, 255, 255, 9, 9, 9]])
def test_a_palette_is_taken_by_its_index_not_its_colours(tmp_path: Path, colours: list[int]) -> None:
    image = Image.fromarray(LABELS, "P")
    image.putpalette(colours)
    mask = read(tmp_path, image)
    np.testing.assert_array_equal(mask.tissue, TRUTH | SECOND)
    assert f"0 (colour {' '.join(map(str, colours[:3]))}) is background" in says(mask)
    np.testing.assert_array_equal(choose(tmp_path, image, ("2",)).tissue, SECOND)
    np.testing.assert_array_equal(read(tmp_path, image, transparency=1).tissue, ~TRUTH)


def test_colours_on_black_are_tissue(tmp_path: Path) -> None:
    image = np.zeros((H, W, 3), np.uint8)
    image[TRUTH], image[SECOND] = (0, 0, 255), (200, 0, 0)  # blue is the darkest of greys
    mask = read(tmp_path, image)
    np.testing.assert_array_equal(mask.tissue, TRUTH | SECOND)
    assert "black is background" in says(mask)


def test_of_two_colours_the_brighter_is_tissue_and_more_are_refused(tmp_path: Path) -> None:
    image = np.full((H, W, 3), (68, 1, 84), np.uint8)  # matplotlib's viridis, from 0
    image[TRUTH] = (253, 231, 37)  # to 1
    mask = read(tmp_path, image)
    np.testing.assert_array_equal(mask.tissue, TRUTH)
    assert "the brighter one, 253 231 37, is tissue" in says(mask)
    image[SECOND] = (33, 145, 140)
    with pytest.raises(UsageError, match=r"^mask: mask\.png is a picture in 3 colours without black"):
        read(tmp_path, image)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_can_be_seen_is_tissue(tmp_path: Path, mode: str) -> None:
    clear = np.zeros((H, W, 4), np.uint8)
    clear[TRUTH] = (0, 0, 0, 255)  # painted black on nothing
    mask = read(tmp_path, Image.fromarray(clear).convert(mode))
    np.testing.assert_array_equal(mask.tissue, TRUTH)
    assert says(mask).endswith("with transparency: what can be seen is tissue")
    half = np.zeros((H, W, 4), np.uint8)
    half[TRUTH], half[SECOND] = (255, 255, 255, 200), (0, 0, 0, 200)
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(half).convert(mode)).tissue, TRUTH)
    opaque = np.zeros((H, W, 4), np.uint8)
    opaque[..., 3], opaque[TRUTH] = 255, 255
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(opaque).convert(mode)).tissue, TRUTH)
    with pytest.raises(UsageError, match=r"^mask: mask\.png is transparent throughout"):
        read(tmp_path, Image.new(mode, (W, H)))


def test_soft_edges_are_cut_at_half(tmp_path: Path) -> None:
    grey = Image.fromarray(TRUTH.astype(np.uint8) * 200)
    soft = grey.resize((4 * W, 4 * H), Image.Resampling.BICUBIC)
    for name, image in (("mask.jpg", grey), ("colour.jpg", grey.convert("RGB")), ("mask.png", soft)):
        mask = read(tmp_path, image, name)
        assert overlap(mask.tissue, TRUTH) > 0.98 and "soft edges: what is brighter than" in says(mask)


def test_a_picture_that_is_turned_by_its_tag(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 3
    mask = read(tmp_path, TRUTH[::-1, ::-1].astype(np.uint8) * 255, exif=exif)
    np.testing.assert_array_equal(mask.tissue, TRUTH)


def test_pyramids_are_read_and_several_pages_of_one_size_refused(tmp_path: Path) -> None:
    large, small = (
        Image.fromarray(TRUTH.astype(np.uint8) * 255).resize(size) for size in ((W, H), (W // 2, H // 2))
    )
    mask = read(tmp_path, large, "mask.tif", save_all=True, append_images=[small])
    np.testing.assert_array_equal(mask.tissue, TRUTH)
    with pytest.raises(UsageError, match=r"^mask: mask\.tif has several pages of one size"):
        read(tmp_path, large, "mask.tif", save_all=True, append_images=[small, large])


def test_an_inverted_mask_is_warned_of(tmp_path: Path) -> None:
    mask = read(tmp_path, np.where(TRUTH | SECOND, 0, 255).astype(np.uint8))
    (told,) = mask.findings
    assert (told.code, told.severity) == ("mask-off-tissue", "warning")
    assert told.what.startswith("0% of mask.png lie on what looks like tissue, and 100%")
    mask = read(tmp_path, np.full((H, W), 255, np.uint8))
    assert [told.code for told in mask.findings] == ["mask-everything"]


def test_masks_that_mark_nothing_and_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^mask: mask\.png marks nothing as tissue; all of it is black$"):
        read(tmp_path, np.zeros((H, W), np.uint8))
    rgb = stain(disc(70, 70, 50))
    with pytest.raises(UsageError, match=r"^mask: no file gone\.png$"):
        find(tmp_path, rgb, mask=tmp_path / "gone.png")
    (tmp_path / "text.png").write_text("neither")
    with pytest.raises(UsageError, match=r"^mask: text\.png is neither GeoJSON nor a picture") as caught:
        find(tmp_path, rgb, mask=tmp_path / "text.png")
    assert str(tmp_path) not in str(caught.value)
