"""What a slide shows at about 8 µm per pixel, tissue, ink, or glass, and how much of each a tile holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bleep_cli.slide.open import read_overview
from bleep_cli.tiles.tissue.channels import brightest, luminance64
from bleep_cli.tiles.tissue.find import tissue_and_ink
from bleep_cli.tiles.tissue.ink import BLACK, Ink
from bleep_cli.types import F32, F64, U8, Bool, Slide

MASK_MPP = 8.0  # µm per mask pixel: a nucleus is one pixel, a gland is ten
MASK_PX = 2500  # long edge of the mask at most: slides over 20 mm get a coarser one, and memory stays flat
FLAT = 3.5  # standard deviation of luminance over a tile; clean glass has about 1, tissue 4 and more
NOTHING_FLAT = 0.25  # where no tissue was told from glass anywhere: pixels all alike


class Seen(NamedTuple):
    """What the n tiles of a grid show."""

    on_glass: F32
    """f32[n] share of each that shows neither tissue nor ink: glass, or pixels that were never scanned."""
    under_ink: F32
    """f32[n] share of each under pen ink."""
    bare: Bool
    """bool[n] glass or unscanned pixels (white, or painted black) throughout: there is nothing to predict on."""

    def subset(self, keep: Bool) -> Seen:
        """The tiles where ``keep`` is true."""
        return Seen(self.on_glass[keep], self.under_ink[keep], self.bare[keep])


@dataclass(frozen=True)
class Ground:
    """A slide on a raster over the whole of it."""

    overview: U8
    """u8[h, w, 3]"""
    scale: float
    """Raster pixels per level-0 pixel."""
    um_per_px: float
    """µm per raster pixel."""
    stained: Bool
    """bool[h, w] tissue, by its colour, as it is: no hole filled, no speck removed."""
    ink: Ink

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the raster."""
        height, width = self.stained.shape
        return width, height

    def at(self, xy_l0: F64) -> Bool:
        """Whether places f64[n, 2] lie on tissue: bool[n]; false outside the slide."""
        x, y = np.floor(xy_l0 * self.scale).clip(-1, max(self.size)).astype(np.int64).T
        width, height = self.size
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return np.asarray(inside & self.stained[y.clip(0, height - 1), x.clip(0, width - 1)], bool)

    def seen(self, centre_l0: F64, edge_l0: float) -> Seen:
        """What the squares of ``edge_l0`` around centres f64[n, 2] show; beyond the slide there is nothing."""
        boxes = Boxes(self.size, centre_l0, edge_l0, self.scale)
        tissue, ink = (boxes.total(where) / boxes.area for where in (self.stained, self.ink.where))
        luminance = luminance64(self.overview)
        inside = np.maximum(boxes.inside, 1)
        mean = boxes.total(luminance) / inside
        spread = np.sqrt(np.maximum(boxes.total(luminance**2) / inside - mean**2, 0.0))
        flat = spread < (FLAT if self.stained.any() else NOTHING_FLAT)
        flat |= boxes.total(brightest(self.overview) <= BLACK) == boxes.inside  # or beyond the slide
        bare = (tissue == 0) & (ink == 0) & flat
        return Seen((1 - tissue - ink).astype(np.float32), ink.astype(np.float32), np.asarray(bare, bool))


class Sums:
    """The sums of a raster [h, w] over any boxes, by a summed-area table."""

    def __init__(self, values: Bool | F64) -> None:
        self._table = np.zeros((values.shape[0] + 1, values.shape[1] + 1))
        self._table[1:, 1:] = np.cumsum(np.cumsum(values, axis=0, dtype=np.float64), axis=1)

    def over(self, boxes: Boxes) -> F64:
        """f64[n]"""
        table, (x0, y0), (x1, y1) = self._table, boxes.low.T, boxes.high.T
        return np.asarray(table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0])


class Boxes:
    """The squares of ``edge_l0`` around n centres, in whole pixels of a raster, at least one each."""

    def __init__(self, size: tuple[int, int], centre_l0: F64, edge_l0: float, scale: float) -> None:
        low = np.rint((centre_l0 - edge_l0 / 2) * scale).astype(np.int64)
        high = np.maximum(np.rint((centre_l0 + edge_l0 / 2) * scale).astype(np.int64), low + 1)
        self.area: F64 = np.prod(high - low, axis=1).astype(np.float64)
        """f64[n] pixels, those beyond the raster too."""
        self.low, self.high = low.clip(0, size), high.clip(0, size)
        """i64[n, 2] (x, y) of the first pixels, and of those behind the last, on the raster."""
        self.inside: F64 = np.prod(self.high - self.low, axis=1).astype(np.float64)
        """f64[n] pixels on the raster."""

    def total(self, values: Bool | F64) -> F64:
        """f64[n] sum of [h, w] over each square."""
        return Sums(values).over(self)


def survey(slide: Slide) -> Ground:
    """The slide at about ``MASK_MPP``, or coarser within ``MASK_PX``. ``SlideError`` where it cannot be read."""
    overview, um_per_px = read_overview(slide, MASK_MPP, MASK_PX)
    tissue, ink = tissue_and_ink(overview, um_per_px)
    return Ground(overview, slide.mpp / um_per_px, um_per_px, tissue, ink)
