"""Pixel by pixel over the three channels of a picture: by whole channels, as NumPy is slow along an axis of three.

Values are those of ``max``, ``min`` and ``mean`` along that axis, to the last bit.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from bleep_cli.types import F32, F64, U8

Picture = TypeVar("Picture", U8, F32)


def channels(rgb: Picture) -> tuple[Picture, Picture, Picture]:
    """Red, green and blue [h, w] of [h, w, 3], as views."""
    return rgb[..., 0], rgb[..., 1], rgb[..., 2]


def brightest(rgb: Picture) -> Picture:
    """The highest of the channels, [h, w] of [h, w, 3]."""
    red, green, blue = channels(rgb)
    return np.maximum(np.maximum(red, green), blue)


def darkest(rgb: Picture) -> Picture:
    """The lowest of the channels, [h, w] of [h, w, 3]."""
    red, green, blue = channels(rgb)
    return np.minimum(np.minimum(red, green), blue)


def luminance(rgb: F32) -> F32:
    """The mean of the channels, f32[h, w] of f32[h, w, 3]."""
    red, green, blue = channels(rgb)
    return np.asarray((red + green + blue) / 3, np.float32)


def luminance64(rgb: U8) -> F64:
    """The same in f64 of u8[h, w, 3]."""
    red, green, blue = channels(rgb)
    return np.asarray((np.add(red, green, dtype=np.float64) + blue) / 3, np.float64)
