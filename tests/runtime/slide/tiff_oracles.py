"""The pixels of a TIFF file as other readers decode them, made RGB on white by a rule of its own.

Three readers beside the runtime's: tifffile (its directories, imagecodecs' codecs), libtiff as imagecodecs carries
it, libtiff as Pillow carries it (another build, with another libjpeg-turbo).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from packaging.version import Version
from PIL import Image, TiffImagePlugin

from bleep_cli.types import F64, U8

INKS, JPEG = 5, 7
"""Photometric value of CMYK, compression value of JPEG."""
JPEG_AS_IT_IS = Version("2026.8.16")
"""The first imagecodecs whose libtiff gives the samples of JPEG, not a picture."""


def on_white(
    samples: NDArray[Any], colours: int, photometric: int, extras: Any, palette: Any, white: int = 65535
) -> U8:
    """``[h, w, s]`` as TIFF describes them → ``u8[h, w, 3]``, in float64, every step to the nearest level.

    ``white`` is the value of a 16-bit sample that is.
    """
    values: F64 = np.rint(samples * (255 / white)) if samples.dtype == np.uint16 else samples.astype(np.float64)
    colour = values[..., :colours]
    if photometric == 0:
        colour = 255 - colour
    elif photometric == 3:
        colour = (palette >> 8).T[colour[..., 0].astype(int)].astype(float)
    elif photometric == INKS:
        colour = np.rint((255 - colour[..., :3]) * (255 - colour[..., 3:]) / 255)
    alphas = [(place, kind) for place, kind in enumerate(extras) if kind in (1, 2)]
    if alphas:
        place, kind = alphas[0]
        alpha = values[..., colours + place, None]
        colour = (colour if kind == 1 else np.rint(colour * alpha / 255)) + 255 - alpha
    return np.broadcast_to(np.minimum(colour, 255), (*samples.shape[:2], 3)).astype(np.uint8)


def _described(page: tifffile.TiffPage, samples: NDArray[Any], white: int = 65535) -> U8:
    """Decoded samples of a page, planes first or last, by its tags."""
    size = page.imagelength, page.imagewidth
    samples = samples.reshape(*size, 1) if samples.ndim == 2 else samples
    samples = samples if samples.shape[:2] == size else np.moveaxis(samples, 0, -1)
    colours = {0: 1, 1: 1, 2: 3, 3: 1, INKS: 4, 6: 3}[int(page.photometric)]
    return on_white(samples, colours, int(page.photometric), page.extrasamples, page.colormap, white)


def by_tifffile(path: Path, page: int = 0, white: int = 65535) -> U8:
    """``u8[h, w, 3]`` of a page."""
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages[page]
        assert isinstance(first, tifffile.TiffPage)
        return _described(first, first.asarray(), white)


def by_libtiff(path: Path, white: int = 65535) -> U8:
    """``u8[h, w, 3]`` of the first page, by the libtiff in imagecodecs.

    Of CMYK it gives the picture as libtiff shows it, not the samples; of JPEG, too, before ``JPEG_AS_IT_IS``.
    The rule for CMYK there leaves out alpha, and cuts off where the runtime rounds: one level apart.
    """
    samples = np.asarray(imagecodecs.tiff_decode(path.read_bytes(), index=0))
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        as_it_is = page.photometric != INKS
        if page.compression == JPEG:
            as_it_is = Version(imagecodecs.__version__) >= JPEG_AS_IT_IS
        if as_it_is:
            return _described(page, samples, white)
    return np.repeat(samples[..., None], 3, axis=2) if samples.ndim == 2 else samples[..., :3]


def by_pillow(path: Path, monkeypatch: Any) -> U8:
    """``u8[h, w, 3]`` of the first page, by the libtiff in Pillow; samples of 16 bits are cut to 8."""
    monkeypatch.setattr(TiffImagePlugin, "READ_LIBTIFF", True)  # it has readers of its own for some files
    with Image.open(path) as image:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        return np.asarray(paper.convert("RGB"))


def apart(a: U8, b: U8) -> int:
    """The largest difference of two pictures, in levels."""
    assert a.shape == b.shape
    return int(np.abs(a.astype(int) - b).max())
