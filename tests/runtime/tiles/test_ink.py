"""Pen ink: told from H&E by its colour, left out of found tissue, flagged on every tile; tissue is not lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_tissue import GLASS, Bools, H, W, disc, find, stain
from PIL import Image, ImageDraw

from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.grid import Laid, grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.tiles.tissue.find import clean
from bleep_cli.tiles.tissue.ground import survey
from bleep_cli.tiles.tissue.ink import find_ink
from bleep_cli.types import U8, TileSpec

INKS = {
    "blue": [(30, 60, 180), (20, 30, 120), (40, 60, 160), (0, 0, 139), (60, 180, 220)],
    "green": [(20, 130, 60), (0, 90, 50), (30, 160, 90)],
    "red": [(200, 30, 30), (220, 40, 50), (180, 20, 60), (255, 0, 0)],
    "black": [(30, 30, 32), (15, 15, 20), (0, 0, 0), (60, 60, 62)],
}
COLOURS = [(name, rgb) for name, colours in INKS.items() for rgb in colours]
NOT_INK = {
    "nuclei": (90, 60, 140),
    "dense lymphocytes": (60, 40, 100),
    "bluish haematoxylin": (105, 100, 160),
    "eosin": (225, 120, 170),
    "red eosin": (200, 60, 100),
    "blood": (178, 48, 78),
    "bright blood": (206, 70, 85),
    "clot": (120, 25, 40),
    "melanin": (70, 45, 30),
    "dark melanin": (45, 32, 25),
    "haemosiderin": (170, 120, 50),
    "bile": (120, 110, 50),
    "fold": (70, 30, 90),
}


def drawn(image: U8, ink: tuple[int, int, int], width: int = 8) -> tuple[U8, Bools]:
    """A picture with a stroke over tissue and glass to one of its edges, opaque, and where it is."""
    stroke = Image.new("1", image.shape[1::-1])
    ImageDraw.Draw(stroke).line([(0, 30), (120, 70), (230, 50)], fill=1, width=width)
    where = np.asarray(stroke)
    out = image.copy()
    out[where] = ink
    return out, where


@pytest.mark.parametrize(("name", "rgb"), COLOURS)
@pytest.mark.parametrize("width", [4, 8])
def test_a_stroke_is_found_and_is_no_tissue(
    tmp_path: Path, name: str, rgb: tuple[int, int, int], width: int
) -> None:
    truth = disc(120, 70, 60)
    plain = stain(truth)
    image, stroke = drawn(plain, rgb, width)
    mask = find(tmp_path, image)
    ink = mask.ground.ink
    least = 0.97 if width == 8 else 0.5  # of 32 µm the edges are half tissue
    assert ink.where[stroke].mean() > least and next(iter(ink.colours)) == name
    near = find_ink(plain, 8.0).where  # nothing of it is ink without the stroke
    assert not near.any()
    assert mask.tissue[stroke].mean() < 1.03 - least
    beside = truth & ~ink.where
    assert mask.tissue[beside].mean() > 0.98
    (told,) = mask.findings
    assert (told.code, told.where) == ("ink-left-out", "slide.png")
    assert told.what.startswith(f"pen ink or paint ({name}")
    covered = (stroke & truth).sum() / truth.sum()
    share = float(told.what.split("covers ")[1].split("%")[0]) / 100
    assert least * covered < share < covered + 0.12  # the rim counts, too


@pytest.mark.parametrize("over", [(222, 150, 190), (190, 110, 140)])
@pytest.mark.parametrize("rgb", [(30, 60, 180), (20, 130, 60), (220, 40, 50), (30, 30, 32)])
def test_ink_that_tissue_shows_through(rgb: tuple[int, int, int], over: tuple[int, int, int]) -> None:
    """Light passes both: transmittances multiply."""
    image = np.full((H, W, 3), GLASS, np.uint8)
    image[20:120, 20:220] = over
    image[60:69, 40:200] = np.array(rgb) * np.array(over) / 245
    where = find_ink(image, 8.0).where
    assert where[62:67, 42:198].all() and not where[:50].any() and not where[90:].any()


@pytest.mark.parametrize("kind", NOT_INK)
def test_what_tissue_has_by_nature_is_no_ink(kind: str) -> None:
    image = stain(disc(120, 70, 60))
    lake = disc(120, 70, 30)
    noise = np.random.default_rng(1).normal(0, 3, (H, W, 3))
    image[lake] = (np.array(NOT_INK[kind]) + noise).clip(0, 255).astype(np.uint8)[lake]
    assert not find_ink(image, 8.0).where.any()


def test_spots_of_pigment_are_too_small_to_be_ink() -> None:
    image = stain(disc(120, 70, 60))
    for x, y in ((100, 60), (130, 80), (120, 50)):
        image[disc(x, y, 3)] = (20, 18, 20)  # 48 µm of soot in a macrophage's corner of the lung
    assert not find_ink(image, 8.0).where.any()


def test_a_picture_without_colour_or_painted_black_has_no_ink() -> None:
    truth = disc(70, 70, 50)
    grey = stain(truth).mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    assert not find_ink(grey, 8.0).where.any()
    assert not find_ink(np.zeros((H, W, 3), np.uint8), 8.0).where.any()
    painted = stain(truth, (0, 0, 0), noise=0)
    assert not find_ink(painted, 8.0).where.any()


def lay(path: Path, mask: Path | None = None) -> Laid:
    slide = open_slide(path, 8.0)
    try:
        return grid_over_tissue(slide, find_tissue(slide, mask), TileSpec(8, (64.0,)), 64.0, 0.5)
    finally:
        slide.close()


def test_tiles_say_how_much_of_them_is_under_ink(tmp_path: Path) -> None:
    truth = disc(120, 70, 60)
    image, stroke = drawn(stain(truth), (30, 60, 180), 10)
    Image.fromarray(image).save(tmp_path / "slide.png")
    found = lay(tmp_path / "slide.png")
    assert found.obs["under_ink"].max() <= 0.3
    Image.fromarray(truth.astype(np.uint8) * 255).save(tmp_path / "mask.png")
    given = lay(tmp_path / "slide.png", tmp_path / "mask.png")
    assert len(given.grid) > len(found.grid)
    assert given.obs["under_ink"].max() == 1 and given.obs["under_ink"].dtype == np.float32
    for (x, y), share in zip(given.grid.centre_l0.astype(int), given.obs["under_ink"], strict=True):
        assert share == pytest.approx(stroke[y - 4 : y + 4, x - 4 : x + 4].mean(), abs=0.45)  # with its rim
        assert share > 0 or not stroke[y - 4 : y + 4, x - 4 : x + 4].any()
    told = {finding.code: finding for finding in given.findings}
    n = (given.obs["under_ink"] > 0.1).sum()
    assert told["tiles-under-ink"].what.startswith(f"{n} of {len(given.grid)} tiles lie under pen ink")
    assert told["tiles-under-ink"].severity == "warning"


REAL = [
    ("slides/real/CMU-1-Small-Region.svs", None),
    ("slides/real/instanseg_HE_example.tif", 0.5),
    ("mob-2k/MOB1.jpg", 2.76),
    ("mob-animals/images/03.jpg", 2.76),
    pytest.param("her2st/images/C3.jpg", 0.69, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "mpp"), REAL)
def test_real_tissue_loses_next_to_nothing(data_dir: Path, name: str, mpp: float | None) -> None:
    slide = open_slide(data_dir / name, mpp)
    try:
        ground = survey(slide)
    finally:
        slide.close()
    tissue = clean(ground.stained | ground.ink.where, ground.um_per_px)
    assert tissue.any() and ground.ink.where[tissue].mean() < 0.001
