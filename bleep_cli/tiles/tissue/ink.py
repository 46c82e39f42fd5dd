"""Pen ink and dark paint on a slide: colours that haematoxylin and eosin do not make.

H&E absorbs green light most. How much each channel absorbs is told by the optical density (Ruifrok and Johnston
2001), relative to the slide's own glass. The bounds below are set beside 17 real H&E pictures from five sources,
0.9 million pixels of 8 µm of tissue:

- **blue, green**: red light is absorbed as much as green and blue together (0.45 of the density; the pictures have
  0.443 at most); or nearly so (0.41) and blue hardly at all (0.16; there 0.17); or green the least, and far less
  than red (0.29; there 0.31);
- **black**: all three alike, and dark; or so dark that hardly any light passes. Brown (melanin, haemosiderin)
  keeps absorbing more blue and is tissue;
- **red**: green light nearly gone, while red light passes: tissue as dense in green absorbs at least 0.45 as much
  red in the pictures, blood 0.15 to 0.25 as much by its usual colours, ink less than 0.12.

An object of ink has at least ``INK_UM2``: spots of pigment are smaller. Of the tissue of those pictures none is
lost. Yellow, orange and violet ink is not told from bile, pigment and haematoxylin, nor is ink so thin that the
stains show through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bleep_cli.tiles.tissue.channels import brightest, channels, darkest, luminance
from bleep_cli.types import F32, U8, Bool

INK_UM2 = 100.0**2
GREY_CHROMA = 8.0  # the 99th percentile of a picture without colour is below it
BLACK = 25.0  # scanners and annotators paint missing regions black
GLASS_LUMINANCE, GLASS_CHROMA, LEAST_GLASS = 170.0, 40.0, 0.02  # of the picture, to take its glass for white
WHITE = 245.0  # of a picture without glass
LEAST_DENSITY = 0.5  # of the three channels together
COLD, COOL, CLEAR_BLUE, CLEAR_GREEN, GREEN_BELOW_RED = 0.45, 0.41, 0.16, 0.29, 1.3
BLACK_DENSITY, BLACK_RANGE, WARM = 1.2, 0.08, 0.02
OPAQUE, OPAQUE_LEAST = 2.7, 0.3
RED_DENSITY, RED_LEFT, BLUE_GONE = 0.62, 0.12, 0.5  # of green; of red and of blue over green
DEEP_RED_DENSITY, DEEP_RED_LEFT = 1.0, 0.2
RIM_UM = 8.0  # around ink its colour blends with what is there
BLUR_UM = 4.0
PAINTED = 0.05  # of the picture: no stroke is as large
PAINT_RIM_PX = 5  # beside a painted region its black blends with what is there


@dataclass(frozen=True)
class Ink:
    """Where there is ink on a picture."""

    where: Bool
    """bool[h, w]"""
    colours: Mapping[str, int]
    """Pixels by colour, blue, green, black or red, most first; without the rim."""


def find_ink(rgb: U8, um_per_px: float) -> Ink:
    """Ink on u8[h, w, 3] RGB; none on a picture without colour."""
    from scipy import ndimage

    sigma = BLUR_UM / um_per_px
    smooth = np.asarray(ndimage.gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0)), np.float32)
    nothing = np.zeros(smooth.shape[:2], bool)
    high = brightest(smooth)
    seen = high > BLACK
    if not seen.any() or float(np.percentile((high - darkest(smooth))[seen], 99)) < GREY_CHROMA:
        return Ink(nothing, {})
    kinds = _kinds(smooth)
    paint = _painted(~seen)
    every = np.logical_or.reduce(list(kinds.values())) & ~paint
    if not every.any():
        return Ink(nothing, {})
    labels, _ = ndimage.label(ndimage.binary_closing(every, iterations=2) | every)
    large = np.bincount(labels.ravel()) >= INK_UM2 / um_per_px**2
    large[0] = False
    found = large[labels]
    counts = {name: int((kind & found & ~paint).sum()) for name, kind in kinds.items()}
    colours = dict(sorted(((n, c) for n, c in counts.items() if c), key=lambda item: -item[1]))
    if found.any():
        found = ndimage.binary_dilation(found, iterations=max(1, round(RIM_UM / um_per_px)))
    return Ink(np.asarray(found, bool), colours)


def _kinds(smooth: F32) -> dict[str, Bool]:
    """The pixels of each colour of ink: bool[h, w] each, none in two of them."""
    white = _white(smooth)
    density = np.maximum(-np.log10(np.maximum(smooth, 1.0) / white), 0.0)
    red, green, blue = channels(density)
    total = np.maximum(red + green + blue, 1e-6)
    cold = (red >= COLD * total) | ((red >= COOL * total) & (blue <= CLEAR_BLUE * total))
    cold |= (green <= CLEAR_GREEN * total) & (red >= GREEN_BELOW_RED * green)
    cold &= total > LEAST_DENSITY
    least = np.minimum(np.minimum(red, green), blue)
    spread = np.maximum(np.maximum(red, green), blue) - least
    black = (total > BLACK_DENSITY) & (spread < BLACK_RANGE * total)
    black |= (total > OPAQUE) & (least > OPAQUE_LEAST)
    black &= ~cold & (blue - green < WARM * total)
    warm = (green > RED_DENSITY) & (red <= RED_LEFT * green)
    warm |= (green > DEEP_RED_DENSITY) & (red <= DEEP_RED_LEFT * green)
    warm &= ~black & (blue >= BLUE_GONE * green)
    return {"blue": cold & (blue <= green), "green": cold & (blue > green), "black": black, "red": warm & ~cold}


def _white(smooth: F32) -> F32:
    """The colour of the glass, f32[3]."""
    bright = luminance(smooth) > GLASS_LUMINANCE
    bright &= brightest(smooth) - darkest(smooth) < GLASS_CHROMA
    if bright.mean() < LEAST_GLASS:
        return np.full(3, WHITE, np.float32)
    return np.asarray(np.median(smooth[bright], axis=0), np.float32)


def _painted(black: Bool) -> Bool:
    """Much of the picture in one piece, black: a region that was not scanned, or painted over."""
    from scipy import ndimage

    labels, _ = ndimage.label(black)
    large = np.bincount(labels.ravel()) > PAINTED * black.size
    large[0] = False
    painted = np.asarray(large[labels], bool)
    return np.asarray(
        ndimage.binary_dilation(painted, iterations=PAINT_RIM_PX) if painted.any() else painted, bool
    )
