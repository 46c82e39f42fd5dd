"""Where tissue is: made-up stains with known truth, and real slides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tissue import Bools, H, W, disc, find, overlap, stain

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.mask import find_tissue, label_pieces
from bleep_cli.tiles.positions import read_positions
from bleep_cli.tiles.tissue.find import clean, otsu, tissue_and_ink
from bleep_cli.types import U8


def test_tissue_on_glass(tmp_path: Path) -> None:
    truth = disc(70, 70, 50)
    mask = find(tmp_path, stain(truth))
    assert overlap(mask.tissue, truth) > 0.95
    assert (mask.ground.scale, mask.ground.overview.shape, mask.tissue.shape) == (1, (H, W, 3), (H, W))


def test_specks_are_dirt_and_pieces_are_numbered_by_area(tmp_path: Path) -> None:
    large, small = disc(160, 70, 55), disc(40, 70, 25)
    specks = disc(40, 10, 4) | disc(85, 130, 3) | disc(230, 8, 5)  # below 100 µm on edge
    mask = find(tmp_path, stain(large | small | specks))
    assert overlap(mask.tissue, large | small) > 0.95
    assert mask.pieces.max() == 2
    assert mask.pieces[70, 160] == 1 and mask.pieces[70, 40] == 2 and mask.pieces[5, 5] == 0


def test_small_holes_are_tissue_and_large_ones_are_not(tmp_path: Path) -> None:
    outer, vessel, lumen = disc(120, 70, 65), disc(90, 50, 5), disc(140, 80, 25)
    mask = find(tmp_path, stain(outer & ~vessel & ~lumen))
    assert overlap(mask.tissue, outer & ~lumen) > 0.95
    assert mask.tissue[50, 90] and not mask.tissue[80, 140]


def test_a_field_of_nothing_but_tissue_is_all_tissue(tmp_path: Path) -> None:
    assert find(tmp_path, stain(np.ones((H, W), bool))).tissue.mean() > 0.99
    faint = np.random.default_rng(0).normal((236, 214, 228), 4, (H, W, 3)).astype(np.uint8)
    assert find(tmp_path, faint).tissue.mean() > 0.99


@pytest.mark.parametrize("glass", [(255, 255, 255), (205, 205, 205), (244, 240, 230), (238, 244, 244)])
def test_glass_alone_is_no_tissue(tmp_path: Path, glass: tuple[int, int, int]) -> None:
    with pytest.raises(SlideError, match=r"^slide\.png: no tissue found; outline it with mask, or name .* at"):
        find(tmp_path, stain(np.zeros((H, W), bool), glass))


@pytest.mark.parametrize("glass", [(255, 255, 255), (205, 205, 205), (246, 240, 228), (232, 242, 244)])
def test_bright_dim_and_tinted_glass(tmp_path: Path, glass: tuple[int, int, int]) -> None:
    truth = disc(70, 70, 50)
    assert overlap(find(tmp_path, stain(truth, glass)).tissue, truth) > 0.95


def test_a_grey_picture_goes_by_darkness(tmp_path: Path) -> None:
    truth = disc(70, 70, 50)
    grey = stain(truth).mean(axis=2).astype(np.uint8)
    assert overlap(find(tmp_path, np.stack([grey] * 3, axis=2)).tissue, truth) > 0.95


@pytest.mark.parametrize("grey", [0, 120, 240])
def test_an_even_grey_picture_has_no_tissue(tmp_path: Path, grey: int) -> None:
    with pytest.raises(SlideError, match="no tissue found"):
        find(tmp_path, np.full((H, W, 3), grey, np.uint8))


def test_a_black_ground_is_no_tissue(tmp_path: Path) -> None:
    truth = disc(70, 70, 50)
    assert overlap(find(tmp_path, stain(truth, (0, 0, 0), noise=0)).tissue, truth) > 0.93
    framed = stain(truth)
    framed[:, 160:] = 0  # a missing region beside the glass
    assert overlap(find(tmp_path, framed).tissue, truth) > 0.95


def test_finer_slides_are_judged_at_the_same_scale(tmp_path: Path) -> None:
    truth = disc(300, 250, 180, 803, 501)
    mask = find(tmp_path, stain(truth), mpp=2.0)
    assert mask.tissue.shape == (126, 201)
    assert mask.ground.scale == 0.25  # exact, though the last row and column reach beyond the slide
    coarse = disc(75, 62.5, 45, 201, 126)
    assert overlap(mask.tissue, coarse) > 0.95


def test_otsu_parts_two_humps() -> None:
    values = np.concatenate([np.full(700, 20.0), np.full(300, 90.0)])
    assert 20 < otsu(values) <= 90
    assert 0 <= otsu(np.full(10, 7.0)) <= 8


def test_pieces_touch_at_corners_and_ties_go_from_the_top_left() -> None:
    tissue = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
    assert label_pieces(tissue).tolist() == [[2, 0, 0, 3], [0, 2, 0, 3], [0, 0, 0, 0], [1, 1, 1, 0]]


# --- real slides


def test_real_region_has_tissue_and_glass(data_dir: Path) -> None:
    slide = open_slide(data_dir / "slides/real/CMU-1-Small-Region.svs")
    try:
        mask = find_tissue(slide)
    finally:
        slide.close()
    assert 0.3 < mask.tissue.mean() < 0.95
    glass = mask.ground.overview.min(axis=2) > 235
    assert glass.sum() > 1000 and (mask.tissue & glass).sum() < 0.2 * glass.sum()
    stained = np.ptp(mask.ground.overview.astype(int), axis=2) > 60
    assert mask.tissue[stained].mean() > 0.98


def test_real_picture_painted_black_has_no_tissue_in_the_black(data_dir: Path) -> None:
    slide = open_slide(data_dir / "slides/real/J2_breast_masked_2000px.png", 4.0)
    try:
        mask = find_tissue(slide)
    finally:
        slide.close()
    black = mask.ground.overview.max(axis=2) < 5
    assert black.mean() > 0.2 and mask.tissue[black].mean() < 0.01
    stained = np.ptp(mask.ground.overview.astype(int), axis=2) > 60
    assert mask.tissue[stained & ~mask.ground.ink.where].mean() > 0.98
    assert list(mask.ground.ink.colours) == ["green", "blue"]  # outlines that an annotator drew in the inset


def covered(image: Path, positions: Path, mpp: float) -> tuple[Bools, Bools]:
    """Whether each spot's centre lies on found tissue, and whether people saw tissue there."""
    slide, spots = open_slide(image, mpp), read_positions(positions)
    try:
        mask = find_tissue(slide)
    finally:
        slide.close()
    x, y = (spots.xy_l0 * mask.ground.scale).astype(int).T
    return mask.tissue[y.clip(0, len(mask.tissue) - 1), x.clip(0, mask.tissue.shape[1] - 1)], spots.in_tissue


@pytest.mark.slow
def test_real_spots_under_tissue_lie_on_it(data_dir: Path) -> None:
    base = data_dir / "her2st"
    found, _ = covered(base / "images/C5.jpg", base / "spots/C5_selection.tsv", 0.69)
    assert found.mean() > 0.95
    found, seen = covered(data_dir / "mob-2k/MOB1.jpg", data_dir / "mob-2k/alignment_table_MOB1.tsv", 3.0)
    assert found[seen].mean() > 0.85 and found[~seen].mean() < 0.05


def test_glass_with_an_uneven_tint_is_no_tissue() -> None:
    """Eosin that ran over the glass: as colourful as pale tissue at one side, fading away to the other."""
    rng = np.random.default_rng(0)
    glass = np.array([240.0, 238.0, 240.0]) - np.linspace(0, 1, 400)[None, :, None] * np.array([2.0, 48.0, 16.0])
    image = np.broadcast_to(glass, (300, 400, 3)).copy()
    y, x = np.mgrid[:300, :400]
    tissue = (x - 200) ** 2 + (y - 150) ** 2 < 70**2
    image[tissue] = (150, 90, 160)
    rgb = (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)
    found = clean(tissue_and_ink(rgb, 8.0)[0], 8.0)
    assert found[tissue].mean() > 0.97
    assert found[~tissue].mean() < 0.03


@pytest.mark.slow
def test_the_mask_of_a_slide_of_any_size_is_bounded_and_lies_where_the_tissue_is() -> None:
    class Large:
        """60 × 40 mm of glass with a coloured square of 10 mm, drawn when it is read."""

        name, size_l0, mpp = "large.svs", (120_000, 80_000), 0.5

        def read(self, xy: tuple[float, float], size: tuple[float, float], out: tuple[int, int]) -> U8:
            x, y = (at + (np.arange(n) + 0.5) * extent / n for at, extent, n in zip(xy, size, out, strict=True))
            inside = (np.abs(x - 50_000) < 10_000) & (np.abs(y[:, None] - 30_000) < 10_000)
            return np.where(inside[..., None], (200, 90, 170), 244).astype(np.uint8)

    large: Any = Large()
    mask = find_tissue(large)
    assert max(mask.tissue.shape) <= 2500
    rows, columns = np.nonzero(mask.tissue)
    corners = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]]) / mask.ground.scale
    np.testing.assert_allclose(corners, [[40_000, 20_000], [60_000, 40_000]], atol=100)
