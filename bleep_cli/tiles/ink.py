"""Pen ink and dark paint on a slide: colours that haematoxylin and eosin do not make.

Light that passes H&E is absorbed most in green; which channel absorbs how much is told by the optical density
(Ruifrok and Johnston 2001), relative to the slide's own glass:

- **blue, green**: red light is absorbed as much as green and blue together. On 18 real H&E pictures of five
  laboratories (1.0 million pixels of 8 µm of tissue) red has at most 0.436 of the density, blue and green ink
  0.45 to 0.7. Where hardly any light passes at all, 0.425 will do: tissue that dense has no more than 0.42;
- **black**: all three alike, and dark. Brown (melanin, haemosiderin) keeps absorbing more blue and is tissue;
- **red**: green light nearly gone, red light passes as if there were nothing. Tissue that dense in green absorbs
  at least 0.45 as much red in those pictures, blood about 0.2 as much by its published colours.

An object of ink has at least ``INK_UM2``: spots of pigment are smaller. Over the tissue of the real pictures, ink is
found on 0.00 to 0.02 %. Yellow, orange and violet ink is not told from bile, pigment and haematoxylin, nor is ink
so thin that the stains show through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F32, U8, Bool

INK_UM2 = 100.0**2
GREY_CHROMA = 8.0  # the 99th percentile of a picture without colour is below it
BLACK = 25.0  # scanners and annotators paint missing regions black
GLASS_LUMINANCE, GLASS_CHROMA, LEAST_GLASS = 170.0, 40.0, 0.02  # of the picture, to take its glass for white
WHITE = 245.0  # of a picture without glass
RED_SHARE, RED_SHARE_DENSE = 0.45, 0.425
LEAST_DENSITY, DENSE = 0.5, 1.8  # of the three channels together
BLACK_DENSITY, BLACK_RANGE, WARM = 1.2, 0.08, 0.02
RED_GREEN_DENSITY, RED_RED, RED_BLUE = 0.65, 0.15, 0.5  # of green; of the others over green
RIM_UM = 16.0  # around ink its colour blends with what is there
PAINT_RIM_PX = 3  # as far as smoothing takes the black of a painted region


@dataclass(frozen=True)
class Ink:
    """Where there is ink on a picture."""

    where: Bool
    """bool[h, w]"""
    colours: Mapping[str, int]
    """Pixels by colour, blue, green, black or red, most first; without the rim."""


def find_ink(smooth: F32, um_per_px: float) -> Ink:
    """Ink on f32[h, w, 3] RGB, smoothed; none on a picture without colour."""
    from scipy import ndimage

    nothing = np.zeros(smooth.shape[:2], bool)
    high = smooth.max(axis=2)
    seen = high > BLACK
    if not seen.any() or float(np.percentile((high - smooth.min(axis=2))[seen], 99)) < GREY_CHROMA:
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
    red, green, blue = (density[..., channel] for channel in range(3))
    total = np.maximum(red + green + blue, 1e-6)
    share = np.where(total > DENSE, RED_SHARE_DENSE, RED_SHARE)
    cold = (total > LEAST_DENSITY) & (red >= share * total)
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    black = ~cold & (total > BLACK_DENSITY) & (spread < BLACK_RANGE * total) & (blue - green < WARM * total)
    warm = (green > RED_GREEN_DENSITY) & (red <= RED_RED * green) & (blue >= RED_BLUE * green)
    return {"blue": cold & (blue <= green), "green": cold & (blue > green), "black": black, "red": warm & ~black}


def _white(smooth: F32) -> F32:
    """The colour of the glass, f32[3]."""
    bright = smooth.mean(axis=2) > GLASS_LUMINANCE
    bright &= np.ptp(smooth, axis=2) < GLASS_CHROMA
    if bright.mean() < LEAST_GLASS:
        return np.full(3, WHITE, np.float32)
    return np.asarray(np.median(smooth[bright], axis=0), np.float32)


def _painted(black: Bool) -> Bool:
    """Black that reaches the edge of the picture is a region that was not scanned, or painted over."""
    from scipy import ndimage

    labels, _ = ndimage.label(black)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    painted = np.isin(labels, np.setdiff1d(edge, [0]))
    return np.asarray(ndimage.binary_dilation(painted, iterations=PAINT_RIM_PX) if painted.any() else painted, bool)


def smoothed(rgb: U8, um_per_px: float) -> F32:
    """u8[h, w, 3] as f32, under a Gaussian of 8 µm."""
    from scipy import ndimage

    sigma = 8.0 / um_per_px
    return np.asarray(ndimage.gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0)), np.float32)
