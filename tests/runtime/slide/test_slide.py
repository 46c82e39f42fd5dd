"""The slide reader: geometry, real files, memory and threads."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_samples import ROOT, H, W, data_path, noise, ramp, whole, write_pyramid, write_tiff
from tiff_files import TEN_BITS

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide, read_overview
from bleep_cli.types import U8

# --- geometry -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["subifds", "pages", "single", "strips", "one strip", "png", "aperio"])
def test_scales_agree_to_a_fraction_of_a_pixel(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    if kind == "png":
        Image.fromarray(ramp()).save(path)
    elif kind in ("single", "strips", "one strip"):
        rows = {"single": {"tile": (64, 64)}, "strips": {"rowsperstrip": 7}, "one strip": {"rowsperstrip": H}}
        write_tiff(path, ramp(), **rows[kind])
    elif kind == "aperio":
        text = "Aperio Image Library v1\r\n301x203 [0,0 301x203] (64x64)|AppMag = 20|MPP = 0.5"
        write_pyramid(path, False, (1, 4), compression="zlib", description=text)
    else:
        write_pyramid(path, kind == "subifds")
    with closing(open_slide(path, mpp=0.5)) as slide:
        assert slide.size_l0 == (W, H)
        for scale in (0.37, 1.0, 1.3, 2.0, 2.7, 4.0, 7.9, 19.0):
            x0, y0, n = 30.25, 20.75, max(4, int(80 / scale))
            out = slide.read((x0, y0), (n * scale, n * scale), (n, n)).astype(float)
            centre = (np.arange(n) + 0.5) * scale
            inside = np.s_[: int(120 / scale)]  # triangles 19 px wide reach over the edge
            tolerance = 1.6 if kind == "aperio" else 1.1  # OpenSlide addresses levels in whole level-0 px
            assert np.abs(out[..., 0] - (x0 + centre) * 0.8)[inside, inside].max() < tolerance, scale
            assert np.abs(out[..., 1] - ((y0 + centre) * 1.2)[:, None])[inside, inside].max() < tolerance, scale


def test_levels_are_used_and_labels_are_not(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as out:
        out.write(np.full((256, 512, 3), 10, np.uint8), tile=(64, 64), photometric="rgb")
        out.write(np.full((128, 256, 3), 20, np.uint8), tile=(64, 64), photometric="rgb", subfiletype=1)
        out.write(np.full((100, 64, 3), 30, np.uint8), tile=(64, 64), photometric="rgb", subfiletype=1)  # label
        out.write(np.full((64, 128, 3), 40, np.uint8), tile=(64, 64), photometric="rgb")  # not a reduction
    with closing(open_slide(path, mpp=1)) as slide:
        for out_px, value in ((600, 10), (300, 10), (256, 20), (40, 20), (2, 20)):  # no white leaks in either
            assert (slide.read((0, 0), (512, 256), (out_px, out_px // 2)) == value).all()
        assert (slide.read((-256, -128), (512, 256), (2, 2))[:, :, 0] == [[255, 255], [255, 20]]).all()
        assert (slide.read((-128, 0), (512, 256), (2, 1))[0, :, 0] == [138, 20]).all()


def test_exact_pixels_white_outside_and_no_swapped_axes(tmp_path: Path) -> None:
    image = noise(W, H)
    path = write_tiff(tmp_path / "a.tif", image, tile=(32, 64), compression="zlib", predictor=True)
    with closing(open_slide(path, mpp=0.5)) as slide:
        out = slide.read((-10, 190), (50, 30), (50, 30))
        assert (out[:13, 10:] == image[190:, :40]).all()
        assert (out[13:] == 255).all() and (out[:, :10] == 255).all()
        assert (slide.read((W + 5, -400), (64, 64), (9, 7)) == 255).all()
        assert slide.read((0, 0), (W, H), (9, 7)).shape == (7, 9, 3)
        for bad in (((0, 0), (0, 5), (1, 1)), ((np.nan, 0), (5, 5), (1, 1)), ((0, 0), (5, 5), (0, 1))):
            with pytest.raises(ValueError, match="not a region"):
                slide.read(*bad)


@pytest.mark.slow
def test_shrinking_keeps_the_mean_and_pieces_do_not_show(tmp_path: Path, monkeypatch: Any) -> None:
    image = np.kron(noise(64, 48), np.ones((32, 32, 1), np.uint8))
    path = write_tiff(tmp_path / "a.tif", image, rowsperstrip=16, compression="lzw")
    with closing(open_slide(path, mpp=0.5)) as slide:
        tiny = slide.read((0, 0), (2048, 1536), (64, 48))
        assert abs(tiny.mean() - image.mean()) < 1
        reference = [slide.read((3.3, 5.1), (2000, 1500), size) for size in ((777, 555), (60, 45), (3000, 2250))]
    monkeypatch.setattr("bleep_cli.slide.raster.PIECE_PX", 1 << 16)
    monkeypatch.setattr("bleep_cli.slide.raster.PIECE_WIDTH_PX", 300)
    with closing(open_slide(path, mpp=0.5)) as slide:
        for whole_read in reference:
            size = whole_read.shape[1], whole_read.shape[0]
            pieces = slide.read((3.3, 5.1), (2000, 1500), size)
            assert np.abs(pieces.astype(int) - whole_read).max() <= 1


def test_overview(tmp_path: Path) -> None:
    with closing(open_slide(write_pyramid(tmp_path / "a.tif", True), mpp=0.5)) as slide:
        image, mpp = read_overview(slide, 2.5)
        assert image.shape == (41, 61, 3) and mpp == 2.5
        assert np.abs(image[5:30, 5:50] - ramp(61, 41, 5)[5:30, 5:50].astype(int)).max() <= 2
        image, mpp = read_overview(slide, 2.5, max_px=30)
        assert image.shape == (21, 30, 3) and mpp == pytest.approx(0.5 * W / 30)
        assert read_overview(slide, 0.1)[0].shape == (H, W, 3)


# --- real files -----------------------------------------------------------------------------------------


def test_svs() -> None:
    path = data_path("slides/real/CMU-1-Small-Region.svs")
    with closing(open_slide(path)) as slide:
        assert (slide.size_l0, slide.mpp, slide.name) == ((2220, 2967), 0.499, path.name)
        assert slide.bounds_l0 == (0, 0, 2220, 2967)
        assert slide.sha256 == "ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7"
        with Image.open(path) as plain:
            crop = np.asarray(plain.crop((500, 700, 756, 956)))
        assert (slide.read((500, 700), (256, 256), (256, 256)) == crop).all()


def test_dicom_of_a_coarse_level() -> None:
    path = data_path("slides/real/camelyon_multiframe_small.dcm")
    with closing(open_slide(path)) as slide:
        assert slide.mpp == pytest.approx(28.969, abs=1e-3) and slide.mpp_source == "the slide's metadata"
    assert whole(path).std() > 10


@pytest.mark.slow
def test_jpeg_section() -> None:
    path = data_path("her2st/images/C2.jpg")
    with pytest.raises(SlideError, match=r"states no.*mpp"):
        open_slide(path)
    with closing(open_slide(path, mpp=0.68)) as slide:
        assert slide.size_l0 == (9274, 9911)
        plain = Image.fromarray(imagecodecs.jpeg8_decode(path.read_bytes()))
        rough = np.asarray(plain.resize((100, 100), Image.Resampling.BOX)).astype(int)
        assert np.abs(slide.read((0, 0), slide.size_l0, (100, 100))[1:-1, 1:-1] - rough[1:-1, 1:-1]).mean() < 3


def test_odd_pictures_as_pillow_shows_them() -> None:
    decoded = 0
    for path in sorted(data_path("slides/odd").iterdir()):
        try:
            mine = whole(path)
        except SlideError:
            continue
        decoded += 1
        if path.name in TEN_BITS:
            continue  # of which Pillow keeps the upper 8 of 16
        try:
            with warnings.catch_warnings(action="ignore"), Image.open(path) as shown:
                paper = Image.new("RGBA", shown.size, "white")
                paper.alpha_composite(shown.convert("RGBA"))
        except (OSError, ValueError):
            continue  # Pillow cannot
        assert np.abs(mine - np.asarray(paper.convert("RGB")).astype(int)).max() <= 3, path.name
    assert decoded >= 40


# --- memory and threads ---------------------------------------------------------------------------------


def write_huge(path: Path, edge: int = 100_000, tile: int = 512) -> Path:
    """A BigTIFF of edge × edge px whose tiles are four JPEG streams, again and again; three levels.

    A grey apart they are: were they pictures, one level would not look like the other, and be taken for a label.
    """
    streams = [imagecodecs.jpeg8_encode(np.full((tile, tile, 3), 180 + i, np.uint8)) for i in range(4)]
    body, places = bytearray(16), []
    for stream in streams:
        places.append((len(body), len(stream)))
        body += stream + bytes(-len(stream) % 8)
    link = 8
    for step in (1, 4, 16):
        side = edge // step
        at = np.arange((-(-side // tile)) ** 2) % 4
        tables = [np.array(places, np.uint64)[at, k].tobytes() for k in (0, 1)]
        spots = []
        for table in tables:
            spots.append(len(body))
            body += table
        tags = [(254, 4, 1, step > 1), (256, 4, 1, side), (257, 4, 1, side), (258, 3, 3, 0x800080008)]
        tags += [(259, 3, 1, 7), (262, 3, 1, 6), (277, 3, 1, 3), (322, 3, 1, tile), (323, 3, 1, tile)]
        tags += [(324, 16, len(at), spots[0]), (325, 16, len(at), spots[1])]
        body[link : link + 8] = struct.pack("<Q", len(body))
        body += struct.pack("<Q", len(tags)) + b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
        link = len(body)
        body += bytes(8)
    body[:8] = struct.pack("<2sHHH", b"II", 43, 8, 0)
    path.write_bytes(body + bytes(8 << 20))  # fewer could not hold so many pixels
    return path


FLAT_MEMORY = """
import random, sys
from bleep_cli.slide.open import open_slide
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096
slide = open_slide(sys.argv[1], mpp=0.25, cache_bytes=16 << 20)
assert "levels-left-out" not in {finding.code for finding in slide.findings}
pick = random.Random(0)
def read(n):
    for _ in range(n):
        at = pick.uniform(0, 99_000), pick.uniform(0, 99_000)
        slide.read(at, (400, 400), (224, 224)); slide.read(at, (2000, 2000), (224, 224))
read(40); early = rss(); read(250); slide.read((0, 0), slide.size_l0, (500, 500))
print((rss() - early) >> 20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_stays_flat_on_a_huge_slide(tmp_path: Path) -> None:
    path = write_huge(tmp_path / "huge.tif")
    grown = subprocess.run([sys.executable, "-c", FLAT_MEMORY, path], cwd=ROOT, capture_output=True, check=True)
    assert int(grown.stdout) < 100  # MB; one level-0 row of tiles alone would be 150


def test_each_tile_is_decoded_once_by_all_threads(tmp_path: Path, monkeypatch: Any) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(W, H), tile=(64, 64), compression="zlib")
    decode, decoded = imagecodecs.zlib_decode, []
    monkeypatch.setattr(imagecodecs, "zlib_decode", lambda *a, **k: decoded.append(1) or decode(*a, **k))
    with closing(open_slide(path, mpp=0.5)) as slide:
        results: list[U8] = []
        work = [
            threading.Thread(target=lambda: results.append(slide.read((0, 0), (W, H), (W, H)))) for _ in range(4)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert all((r == noise(W, H)).all() for r in results) and len(results) == 4
        assert len(decoded) == 5 * 4  # those of opening among them
