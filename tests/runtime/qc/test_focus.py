"""Sharpness: right by a wave worked out by hand, and falling with blur on made-up tissue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_nuclei import tissue
from PIL import ImageFilter

from bleep_cli.qc.check import Check
from bleep_cli.qc.focus import EDGE_PX, SOFT, focus_check, sharpness
from bleep_cli.slide.open import open_slide

MPP = 0.5
CENTRES = np.array([(x, y) for x in (200.0, 500.0, 800.0) for y in (250.0, 600.0)])


def checked(folder: Path, blur_um: float, mpp: float = MPP, known: bool = True) -> Check:
    image = tissue(5).filter(ImageFilter.GaussianBlur(blur_um / MPP))
    image.save(folder / "slide.png")
    slide = open_slide(folder / "slide.png", mpp)
    found = focus_check(slide, CENTRES, known=known)
    slide.close()
    return found


@pytest.mark.parametrize("wave_px", [8, 12, 24])
def test_of_a_wave_it_is_the_ratio_of_what_two_filters_let_through(wave_px: int) -> None:
    wave = 128 + 60 * np.sin(2 * np.pi * np.arange(EDGE_PX) / wave_px)
    image = np.repeat(np.tile(wave, (EDGE_PX, 1)).round().astype(np.uint8)[..., None], 3, axis=2)
    through = np.exp(-2 * (np.pi / wave_px * np.array([1.0, 2.0, 4.0])) ** 2)
    wanted = ((through[0] - through[1]) / (through[1] - through[2])) ** 2
    assert sharpness(image) == pytest.approx(wanted, rel=0.03)


def test_nothing_to_see_is_no_number() -> None:
    assert np.isnan(sharpness(np.full((EDGE_PX, EDGE_PX, 3), 240, np.uint8)))


def test_tissue_in_focus_is_sharp_and_blurred_by_two_um_soft(tmp_path: Path) -> None:
    sharp, soft, softer = (checked(tmp_path, blur) for blur in (0.0, 2.0, 4.0))
    assert (sharp.state, soft.state, softer.state) == ("good", "doubtful", "doubtful")
    values = [found.values["sharpness"] for found in (sharp, soft, softer)]
    assert values[0] > SOFT > values[1] > values[2]
    assert (sharp.values["soft_tiles"], soft.values["soft_tiles"]) == (0.0, 1.0)
    assert [finding.code for finding in soft.findings] == ["focus-soft"]


def test_it_is_not_judged_where_it_cannot_be(tmp_path: Path) -> None:
    assert checked(tmp_path, 0.0, mpp=2.0).words == "not judged: 2 µm/px are too coarse to tell"
    doubtful = checked(tmp_path, 4.0, known=False)
    assert (doubtful.state, doubtful.findings) == ("not judged", ())
