"""The slide reader: colours of every kind of file, and its pixel size."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from slide_samples import noise, whole, write_tiff

from bleep_cli.errors import SlideError, UsageError
from bleep_cli.slide.open import open_slide

# --- colour ---------------------------------------------------------------------------------------------

RGB16 = noise(40, 30).astype(np.uint16) * 257
ALPHA = np.dstack([noise(40, 30), noise(40, 30, 1)[..., 0]])
ON_WHITE = np.round(ALPHA[..., :3] * (ALPHA[..., 3:] / 255) + 255 - ALPHA[..., 3:])


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (noise(40, 30).transpose(2, 0, 1), {"planarconfig": "separate", "compression": "zlib"}, noise(40, 30)),
        (noise(40, 30)[..., 0], {"photometric": "minisblack"}, np.repeat(noise(40, 30)[..., :1], 3, 2)),
        (noise(40, 30)[..., 0], {"photometric": "miniswhite"}, 255 - np.repeat(noise(40, 30)[..., :1], 3, 2)),
        (RGB16, {"tile": (16, 16), "compression": "lzw", "predictor": True}, RGB16 // 257),
        (RGB16, {"byteorder": ">"}, RGB16 // 257),
        (ALPHA, {"extrasamples": ["unassalpha"]}, ON_WHITE),
        (ALPHA, {"extrasamples": ["unspecified"]}, ALPHA[..., :3]),
        (noise(40, 30), {"compression": "webp", "compressionargs": {"lossless": True}}, noise(40, 30)),
        (noise(40, 30), {"compression": "jpeg2000", "compressionargs": {"level": 0}}, noise(40, 30)),
        (noise(40, 30), {"compression": "zstd", "bigtiff": True, "tile": (16, 16)}, noise(40, 30)),
    ],
)
def test_colours(tmp_path: Path, image: Any, options: dict[str, Any], expected: Any) -> None:
    assert np.abs(whole(write_tiff(tmp_path / "a.tif", image, **options)) - np.asarray(expected, float)).max() <= 1


@pytest.mark.parametrize(
    ("image", "options", "says"),
    [
        (RGB16[..., 0], {"photometric": "minisblack"}, "grey of 16 bits"),
        (RGB16.astype(np.float32), {}, "rgb of 32 bits"),
        (np.stack([noise(40, 30)[..., 0]] * 2), {"photometric": "minisblack"}, "it holds 2 planes"),
        (noise(40, 30), {"compression": "jpegxl"}, "compression"),
    ],
)
def test_refuses_what_it_would_have_to_guess(
    tmp_path: Path, image: Any, options: dict[str, Any], says: str
) -> None:
    path = write_tiff(tmp_path / "a.tif", image, **options)
    with pytest.raises(SlideError, match=says) as caught:
        open_slide(path, mpp=0.5)
    assert str(caught.value).startswith("a.tif: ") and str(tmp_path) not in str(caught.value)


FLAT = {"png": "1 L LA P RGB RGBA", "jpg": "L RGB CMYK", "bmp": "1 L P RGB", "webp": "RGB RGBA", "ppm": "L RGB"}


@pytest.mark.parametrize(("suffix", "mode"), [(s, mode) for s, modes in FLAT.items() for mode in modes.split()])
def test_flat_pictures_as_pillow_shows_them(tmp_path: Path, suffix: str, mode: str) -> None:
    picture = Image.fromarray(ALPHA)
    picture = (picture if mode in ("RGBA", "LA") else picture.convert("RGB")).convert(mode)
    picture.save(tmp_path / f"a.{suffix}", lossless=True)
    with Image.open(tmp_path / f"a.{suffix}") as shown:
        paper = Image.new("RGBA", shown.size, "white")
        paper.alpha_composite(shown.convert("RGBA"))
        assert np.abs(whole(tmp_path / f"a.{suffix}") - np.asarray(paper.convert("RGB")).astype(int)).max() <= 1


# --- pixel size -----------------------------------------------------------------------------------------


def ome(x: float, y: float, unit: str = "µm", size: int = 40, c: int = 3) -> bytes:
    pixels = (
        f'<Image><Pixels SizeX="{size}" SizeY="30" SizeC="{c}" SizeZ="1" SizeT="1" PhysicalSizeX="{x}" '
        f'PhysicalSizeXUnit="{unit}" PhysicalSizeY="{y}" PhysicalSizeYUnit="{unit}">'
        '<Channel SamplesPerPixel="3"/><TiffData IFD="{}"/></Pixels></Image>'
    )
    text = '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    return (text + pixels.format(1).replace(f"{x}", "9") + pixels.format(0) + "</OME>").encode()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"description": ome(0.25, 0.25)}, 0.25),
        ({"description": ome(250, 252, "nm")}, 0.251),
        ({"description": ome(0.25, 0.25), "resolution": (40000, 40000), "resolutionunit": 3}, 0.25),
        ({"resolution": (20000, 20000), "resolutionunit": 3}, 0.5),
        ({"resolution": (50800, 50800), "resolutionunit": 2}, 0.5),
        ({"description": "ImageJ=1.54\nunit=micron\n", "resolution": (2, 2), "resolutionunit": 1}, 0.5),
        ({"description": "cut from x.svs |AppMag = 20|MPP = 0.4990"}, 0.499),
        ({"description": "|MPP = 0.4990", "resolution": (72, 72), "resolutionunit": 2}, 0.499),
        (
            {"description": ome(0.25, 0.25), "resolution": (20000, 20000), "resolutionunit": 3},
            "0.25.*0.5.*mpp",
        ),
        ({"description": ome(0.25, 0.5)}, "not square.*mpp"),
        ({"description": ome(0.25, 0.25, size=41)}, "states no.*mpp"),
        ({"description": ome(250, 250)}, "250 µm.*mpp"),
        ({"description": ome(0.25, 0.25, c=9)}, "9 planes"),
        ({"resolution": (300, 300), "resolutionunit": 2}, "states no.*mpp"),
        ({"resolution": (2, 2), "resolutionunit": 1}, "states no.*mpp"),
        ({}, "states no.*mpp"),
    ],
)
def test_pixel_size(tmp_path: Path, options: dict[str, Any], expected: float | str) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(40, 30), tile=(16, 16), **options)
    if isinstance(expected, str):
        with pytest.raises(SlideError, match=expected):
            open_slide(path)
    else:
        with closing(open_slide(path)) as slide:
            assert slide.mpp == pytest.approx(expected, abs=1e-3)


def test_mpp_option(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", noise(40, 30), description=ome(0.25, 0.25))
    with closing(open_slide(path, mpp=0.7)) as slide:
        assert slide.mpp == 0.7
    for wrong in (0, -1, 101, float("nan")):
        with pytest.raises(UsageError, match="mpp"):
            open_slide(path, mpp=wrong)


def test_pixel_size_of_flat_pictures(tmp_path: Path) -> None:
    picture = Image.fromarray(noise(40, 30))
    picture.save(tmp_path / "a.png", dpi=(50800, 50800))
    picture.save(tmp_path / "a.jpg", dpi=(50800, 50800))
    for name in ("a.png", "a.jpg"):
        with closing(open_slide(tmp_path / name)) as slide:
            assert slide.mpp == pytest.approx(0.5, rel=1e-3)
    picture.save(tmp_path / "a.png", dpi=(96, 96))
    picture.save(tmp_path / "a.jpg", dpi=(300, 300))
    for name in ("a.png", "a.jpg"):
        with pytest.raises(SlideError, match=rf"{name}: .*states no.*mpp"):
            open_slide(tmp_path / name)
