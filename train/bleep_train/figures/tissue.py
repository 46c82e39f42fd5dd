"""A section's H&E with its spots on it: what Fig. 3 and Fig. 5 of the paper are made of.

Planes: ``l0`` is level-0 pixels of the slide, origin top left, **(x, y)**; the axes are in it, y pointing down.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bleep_cli.plotting.style import length_words, scale_bar_um, width_in
from bleep_cli.slide.open import open_slide
from bleep_cli.types import F64, U8

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SPOT_OF_PITCH = 0.55
"""Diameter of a spot over the distance to the next: 55 of 100 µm on Visium, 100 of 200 µm on older arrays."""

WASH = 0.35
"""How far the H&E is paled towards white, so that the spots' colours are read first."""

LEAST_SPOT_IN, SMALL_SPOT_OF_PITCH = 1.5 / 72, 0.95
"""Spots that would be smaller on paper are drawn side by side: as specks their colours would mix with the H&E."""

MARGIN_PITCHES = 1.2


@dataclass(frozen=True)
class SectionPicture:
    """The part of a slide that holds the spots."""

    image: U8
    """u8[h, w, 3] H&E of the window"""
    corner_l0: tuple[float, float]
    """(x, y) of its top left in level-0 px."""
    size_l0: tuple[float, float]
    """Window (width, height) in level-0 px; may reach beyond the slide, white there."""
    um_per_l0: float
    """Micrometres per level-0 px."""
    xy_l0: F64
    """f64[m, 2] spot centres (x, y)"""
    pitch_l0: float
    """Distance from a spot to the next."""

    @property
    def aspect(self) -> float:
        """Height over width."""
        return self.size_l0[1] / self.size_l0[0]

    def diameter_l0(self, wide_in: float) -> float:
        """Diameter that spots are drawn with where the window is ``wide_in`` inches wide."""
        true = SPOT_OF_PITCH * self.pitch_l0
        small = true * wide_in / self.size_l0[0] < LEAST_SPOT_IN
        return SMALL_SPOT_OF_PITCH * self.pitch_l0 if small else true


def spot_pitch(xy: F64) -> float:
    """Median distance from a spot to its nearest neighbour; raises ``ValueError`` for fewer than two spots."""
    from scipy.spatial import cKDTree

    if len(xy) < 2:
        raise ValueError("a single spot has no neighbour to measure the pitch by")
    return float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))


def window_around(xy_l0: F64, pitch_l0: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """(corner, size) in level-0 px of all spots with a margin; at most 1.6 times as long as broad."""
    low, high = xy_l0.min(axis=0) - MARGIN_PITCHES * pitch_l0, xy_l0.max(axis=0) + MARGIN_PITCHES * pitch_l0
    size = np.maximum(high - low, (high - low)[::-1] / 1.6)
    corner = (low + high - size) / 2
    return (float(corner[0]), float(corner[1])), (float(size[0]), float(size[1]))


def read_tissue(path: Path, mpp: float | None, xy_l0: F64, width_px: int) -> SectionPicture:
    """The window around the spots, ``width_px`` pixels wide but never finer than the slide.

    ``mpp`` overrides what the slide states. Raises what ``open_slide`` raises.
    """
    pitch = spot_pitch(xy_l0)
    corner, size = window_around(xy_l0, pitch)
    slide = open_slide(path, mpp)
    try:
        wide = max(1, min(width_px, round(size[0])))
        image = slide.read(corner, size, (wide, max(1, round(wide * size[1] / size[0]))))
        return SectionPicture(image, corner, size, slide.mpp, xy_l0, pitch)
    finally:
        slide.close()


def washed(image: U8) -> U8:
    """The H&E paled towards white by ``WASH``."""
    return np.round(255 - (1 - WASH) * (255.0 - image)).astype(np.uint8)


def show_tissue(axes: Axes, tissue: SectionPicture) -> None:
    """The window, as large as the axes; y points down as in the slide."""
    (left, top), (wide, high) = tissue.corner_l0, tissue.size_l0
    axes.imshow(washed(tissue.image), extent=(left, left + wide, top + high, top), aspect="auto")
    axes.set(xlim=(left, left + wide), ylim=(top + high, top), xticks=[], yticks=[])
    axes.spines[:].set(linewidth=0.4)


def draw_spots(axes: Axes, tissue: SectionPicture, colours: NDArray[np.float64]) -> None:
    """A disc of the spots' size per row of ``colours`` f64[m, 4] RGBA."""
    from matplotlib.collections import EllipseCollection

    diameter = np.full(len(tissue.xy_l0), tissue.diameter_l0(width_in(axes)))
    discs = EllipseCollection(
        diameter,
        diameter,
        np.zeros(len(diameter)),
        units="xy",
        offsets=tissue.xy_l0,
        offset_transform=axes.transData,
        facecolors=colours,
        edgecolors="none",
    )
    axes.add_collection(discs, autolim=False)


def draw_scale_bar(axes: Axes, tissue: SectionPicture) -> None:
    """A black bar of at most a third of the window with its length above on a pale ground, in the lower corner
    that covers fewer spots."""
    from matplotlib.patches import Rectangle

    inch = tissue.size_l0[0] / width_in(axes)  # in level-0 px
    length_um = scale_bar_um(tissue.size_l0[0] * tissue.um_per_l0, 1 / 3)
    length, thick, pad = length_um / tissue.um_per_l0, 0.03 * inch, 0.05 * inch
    wide, high = length + 2 * pad, 0.21 * inch
    top = tissue.corner_l0[1] + tissue.size_l0[1] - high
    left = _emptier_side(tissue, wide, top)
    ground = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "zorder": 5}
    axes.add_patch(Rectangle((left, top), wide, high, **ground))  # type: ignore[arg-type]
    bar = (left + pad, top + high - pad - thick)
    axes.add_patch(Rectangle(bar, length, thick, color="black", linewidth=0, zorder=6))
    where = (left + wide / 2, bar[1] - 0.01 * inch)
    axes.text(*where, length_words(length_um), ha="center", va="bottom", fontsize=6.5, color="black", zorder=6)


def _emptier_side(tissue: SectionPicture, wide: float, top: float) -> float:
    """Left end of a box in the lower left or right corner, whichever has fewer spots; left among equals."""
    first, last = tissue.corner_l0[0], tissue.corner_l0[0] + tissue.size_l0[0] - wide
    x, y = tissue.xy_l0.T

    def covered(left: float) -> int:
        return int(((x > left) & (x < left + wide) & (y > top)).sum())

    return last if covered(last) < covered(first) else first
