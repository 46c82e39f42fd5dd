"""What a slide is called in results: its file name without the endings that say its format."""

from __future__ import annotations

import pytest

from bleep_cli.slide.endings import slide_id

FORMATS = (
    *("svs", "svslide", "ndpi", "scn", "mrxs", "bif", "vms", "vmu", "czi", "isyntax", "i2syntax", "qptiff", "btf"),
    *("tif", "tiff", "ome.tif", "ome.tiff", "ome.btf", "tf8", "dcm", "png", "jpg", "jpeg", "jp2", "bmp", "webp"),
)


@pytest.mark.parametrize("ending", [*FORMATS, *map(str.upper, FORMATS)])
def test_endings_are_left_out(ending: str) -> None:
    assert slide_id(f"S1.a b.{ending}") == "S1.a b"


@pytest.mark.parametrize("name", ["1.2.840.113619", "S1", "S1.v2", ".svs", "Müller.2"])
def test_other_dots_stay(name: str) -> None:
    assert slide_id(name) == name
