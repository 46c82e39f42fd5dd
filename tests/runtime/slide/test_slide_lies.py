"""Slides whose small files claim much, whose labels pose as tissue, and that change while they are read."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from slide_files import PIC, RES, H, W

from bleep_cli.errors import SlideError
from bleep_cli.slide.claimed import check_ratio
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.grid import cells_of

TILED: dict[str, Any] = {"photometric": "rgb", "metadata": None, "tile": (32, 32)} | RES
LABEL = np.zeros((H // 2, W // 2, 3), np.uint8)
LABEL[::3] = (250, 10, 10)


@pytest.mark.parametrize(
    ("decoded", "stored", "limit"),
    [
        (1_200_000_000, 389_000, "MOST_RATIO_LARGE"),
        (17 << 20, 4_000, "MOST_RATIO"),
        (1_700_000_000, 1_000_000_000, "MOST_PICTURE_BYTES"),
    ],
)
def test_few_bytes_do_not_hold_many(decoded: int, stored: int, limit: str) -> None:
    with pytest.raises(ValueError, match=rf"is over the limit {limit}, "):
        check_ratio(decoded, stored)


def test_real_pictures_pass() -> None:
    check_ratio(1_200_000_000, 40_000_000)
    check_ratio(16 << 20, 100)


def test_a_tile_of_a_whole_slide_is_refused(tmp_path: Path) -> None:
    tile = np.zeros((8192, 4096), np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", tile, tile=(8192, 4096), photometric="minisblack", compression="zlib", **RES
    )
    with pytest.raises(SlideError, match=r"tile of 4096 x 8192 px is over the limit MOST_TILE_PIXELS.*tiffsave"):
        open_slide(tmp_path / "a.tif")


def test_a_tile_that_is_every_tile_is_refused(tmp_path: Path) -> None:
    """Entries that all point to the same bytes: 16,384² px in 32 kB, on which a reader would work for long."""
    tile = np.full((1024, 1024, 3), 220, np.uint8)
    options = {**TILED, "tile": (1024, 1024), "compression": "zlib"}
    tifffile.imwrite(tmp_path / "a.tif", np.broadcast_to(tile, (1024, 1024, 3)), **options)
    open_slide(tmp_path / "a.tif").close()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        (place,), (size,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
        packed = (tmp_path / "a.tif").read_bytes()[place : place + size]
    tifffile.imwrite(tmp_path / "b.tif", iter([packed] * 256), shape=(16_384, 16_384, 3), dtype="u1", **options)
    with tifffile.TiffFile(tmp_path / "b.tif", mode="r+b") as file:
        page = file.pages[0]
        page.tags["TileOffsets"].overwrite([page.dataoffsets[0]] * 256)
        end = page.dataoffsets[0] + size
    data = (tmp_path / "b.tif").read_bytes()
    (tmp_path / "b.tif").write_bytes(data[:end])
    with pytest.raises(
        SlideError, match=r"a picture of 805,306,368 bytes in a file of \d+,\d+ is over .* MOST_RATIO,"
    ):
        open_slide(tmp_path / "b.tif")


def test_more_cells_than_a_slide_has_are_refused_before_it_is_looked_at(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIC, **TILED)
    with closing(open_slide(tmp_path / "a.tif", mpp=100.0)) as slide:
        assert cells_of(slide, 100.0) == (W, H)
        with pytest.raises(SlideError, match=r"MOST_CELLS.*is 100 µm per pixel \(mpp\) right\?.*stride_um"):
            cells_of(slide, 1.0)


@pytest.mark.parametrize(
    "said", [{"subfiletype": 9}, {"subfiletype": 1}, {"subfiletype": 1, "description": "label 1x1"}]
)
def test_a_label_of_the_slides_proportions_is_never_a_level(tmp_path: Path, said: dict[str, Any]) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        out.write(PIC, **TILED)
        out.write(LABEL, **TILED, **said)
    with closing(open_slide(tmp_path / "a.tif")) as slide:
        seen = slide.read((0, 0), (W, H), (W // 2, H // 2)).astype(float)
        assert np.abs(seen - PIC.reshape(H // 2, 2, W // 2, 2, 3).mean(axis=(1, 3))).max() < 60
        codes = {finding.code for finding in slide.findings}
    assert ("levels-left-out" in codes) == (said == {"subfiletype": 1})


@pytest.mark.parametrize("how", ["replaced", "written to"])
def test_a_slide_that_changes_while_it_is_read_is_told(tmp_path: Path, how: str) -> None:
    path, other = tmp_path / "a.tif", tmp_path / "b.tif"
    for file in (path, other):
        tifffile.imwrite(file, PIC, **TILED)
    with closing(open_slide(path)) as slide:
        first = slide.sha256
        assert first == slide.sha256
        if how == "replaced":
            other.replace(path)
        else:
            os.utime(path, ns=(1, 1))
        with pytest.raises(SlideError, match=r"^a\.tif: was replaced or changed while it was read"):
            _ = slide.sha256
