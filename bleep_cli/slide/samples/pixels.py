"""Colour: from the samples a file stores to RGB u8 on white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bleep_cli.types import U8

Samples = NDArray[np.uint8 | np.uint16]
"""``[h, w, samples]`` as a file stores them."""

ColourModel = Literal["grey", "inverted", "palette", "rgb", "cmyk"]
"""What the colour samples are; "inverted" is grey whose 0 is white."""
COLOURS: dict[ColourModel, int] = {"grey": 1, "inverted": 1, "palette": 1, "rgb": 3, "cmyk": 4}
"""Colour samples per pixel of each colour model; further samples are alpha or of no meaning."""

DEEP_WHITE = 65535
"""White of 16-bit samples that use their whole range, as TIFF and PNG say they do."""


@dataclass(frozen=True)
class PixelFormat:
    """What the samples of a pixel mean."""

    model: ColourModel
    """What the colour samples, which come first, are."""
    alpha: int | None = None
    """Index of the alpha sample; None where there is none."""
    premultiplied: bool = False
    """Whether the colours are already multiplied by alpha."""
    palette: U8 | None = None
    """u8[256, 3] RGB of each value, of the model "palette"."""
    white: int = DEEP_WHITE
    """The value of 16-bit colour samples that is white: less than all of their range for data of 12 bits."""
    alpha_white: int = DEEP_WHITE
    """The same of alpha, where it hides nothing."""


def to_rgb(samples: Samples, fmt: PixelFormat) -> U8:
    """``u8 | u16 [h, w, s]`` → ``u8[h, w, 3]``, contiguous; transparent parts show white."""
    alpha = None
    if fmt.alpha is not None:
        alpha = to_8_bit(samples[..., fmt.alpha : fmt.alpha + 1], fmt.alpha_white)
    rgb = _colours(to_8_bit(samples[..., : COLOURS[fmt.model]], fmt.white), fmt)
    if alpha is not None and alpha[..., 0].min(initial=255) < 255:
        rgb = _on_white(rgb, alpha, fmt.premultiplied)
    return _contiguous(rgb)


def _contiguous(rgb: U8) -> U8:
    """The same without gaps; out of pixels of four samples NumPy would take three bytes at a time."""
    if rgb.flags.c_contiguous:
        return rgb
    out = np.empty(rgb.shape, np.uint8)
    for channel in range(rgb.shape[2]):
        out[..., channel] = rgb[..., channel]
    return out


def to_8_bit(samples: Samples, white: int = DEEP_WHITE) -> U8:
    """16-bit samples to the nearest of 256 levels, ``white`` and above → 255; those of 8 bits as they are."""
    if samples.dtype == np.uint8:
        return samples.astype(np.uint8, copy=False)
    values = np.minimum(samples, white).astype(np.uint32)
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def _colours(raw: U8, fmt: PixelFormat) -> U8:
    if fmt.model == "rgb":
        return raw
    if fmt.model == "cmyk":  # the device-independent textbook rule; a slide scanner writes no CMYK
        left = 255 - raw.astype(np.uint16)
        return ((left[..., :3] * left[..., 3:] + 127) // 255).astype(np.uint8)
    if fmt.palette is not None:
        return fmt.palette[raw[..., 0]]
    grey = 255 - raw if fmt.model == "inverted" else raw
    return np.repeat(grey, 3, axis=2)


def _on_white(rgb: U8, alpha: U8, premultiplied: bool) -> U8:
    cover = alpha.astype(np.uint16)
    colour = rgb.astype(np.uint16) if premultiplied else (rgb * cover + 127) // 255
    blended: U8 = np.minimum(colour + (255 - cover), 255).astype(np.uint8)
    return blended
