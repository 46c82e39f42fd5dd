"""Mask files that lie: no program is started, no picture or outline costs more than it may."""

from __future__ import annotations

import json
import os
import sys
import zlib
from pathlib import Path
from struct import pack

import pytest
from PIL import EpsImagePlugin, Image

from bleep_cli.errors import UsageError
from bleep_cli.tiles.mask_file import geojson, polygons
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.read import read_mask_file

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\nshowpage\n"


def test_no_postscript_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_: pytest.fail("a program was started"))
    Image.init()  # every plugin is there, as after another library has opened something
    (tmp_path / "mask.png").write_bytes(EPS)
    with pytest.raises(UsageError, match=r"^mask: mask\.png is neither GeoJSON nor a picture"):
        read_mask_file(tmp_path / "mask.png")


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return pack(">I", len(body)) + kind + body + pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", pack(">IIBBBBB", 20_000, 6_000, 8, 0, 0, 0, 0))
    (tmp_path / "m.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    with pytest.raises(UsageError, match=r"20000 × 6000 px is over the limit MOST_MASK_PIXELS.*8 µm per pixel"):
        read_mask_file(tmp_path / "m.png")


def polygon(*points: tuple[float, float]) -> bytes:
    return json.dumps({"type": "Polygon", "coordinates": [points]}).encode()


def test_corners_and_what_filling_costs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    square = polygon((0, 0), (100, 0), (100, 100), (0, 100))
    monkeypatch.setattr(geojson, "MOST_MASK_POINTS", 3)
    with pytest.raises(UsageError, match=r"m of 4 corners is over the limit MOST_MASK_POINTS.*simplify"):
        GeoJson(square, "m", ())
    monkeypatch.setattr(geojson, "MOST_MASK_POINTS", 4)
    given = GeoJson(square, "m", ())
    assert polygons.crossings(given.areas[0].rings, (50, 50)) == 100
    monkeypatch.setattr(geojson, "MOST_CROSSINGS", 99)
    with pytest.raises(UsageError, match=r"cross 100 rows of pixels, is over the limit MOST_CROSSINGS"):
        given.laid((50, 50), 1.0, (0.0, 0.0))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_pipe_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "mask.png")
    with pytest.raises(UsageError, match="pipe or a device"):
        read_mask_file(tmp_path / "mask.png")
