"""The picture of a judged slide shows what was found where it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bleep_cli.outputs.picture import write_quality_png
from bleep_cli.plotting.quality import QualityPicture

COLOUR = (200, 180, 120)
OVERVIEW = np.full((60, 80, 3), COLOUR, np.uint8)
NONE = np.zeros((60, 80), bool)


@pytest.fixture
def plain() -> QualityPicture:
    centres = np.array([(20.0, 20.0), (60.0, 40.0)])
    facts = [("focus", "sharp", "good")]
    return QualityPicture(OVERVIEW, 8.0, NONE, NONE, centres, 10.0, None, "slide.svs", "fit", facts)


def drawn(picture: QualityPicture, path: Path) -> np.ndarray:
    write_quality_png(picture, path, force=True)
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def centre_of(mask: np.ndarray, like: np.ndarray) -> tuple[float, float]:
    """(x, y) in overview pixels of the middle of what differs; ``like`` is where the overview itself is drawn."""
    rows, cols = np.nonzero(like)
    y, x = (v.mean() for v in np.nonzero(mask & like))
    scale = (cols.max() - cols.min() + 1) / 80
    return float((x - cols.min()) / scale), float((y - rows.min()) / scale)


def test_strange_tiles_and_ink_are_coloured_where_they_lie(plain: QualityPicture, tmp_path: Path) -> None:
    before = drawn(plain, tmp_path / "a.png")
    overview = np.abs(before - COLOUR).max(axis=2) <= 1
    strange = drawn(replace(plain, strange=np.array([False, True])), tmp_path / "b.png")
    assert centre_of(np.abs(strange - before).max(axis=2) > 20, overview) == pytest.approx((60, 40), abs=1)
    ink = NONE.copy()
    ink[5:15, 50:70] = True
    inked = drawn(replace(plain, ink=ink), tmp_path / "c.png")
    assert centre_of(np.abs(inked - before).max(axis=2) > 20, overview) == pytest.approx((60, 10), abs=1)
    told = strange[np.abs(strange - before).max(axis=2) > 20].mean(axis=0)
    assert told[0] > told[1] + 50 > told[2]


def test_the_same_slide_gives_the_same_bytes(plain: QualityPicture, tmp_path: Path) -> None:
    for name in "ab":
        drawn(plain, tmp_path / f"{name}.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
