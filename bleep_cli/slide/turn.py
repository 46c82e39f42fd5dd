"""A picture that is stored turned or mirrored, seen upright: the eight orientations of TIFF and EXIF."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.slide.facts import PLAIN, Facts
from bleep_cli.slide.raster import Level, Raster
from bleep_cli.types import U8

WORDS = {
    2: "mirrored left to right",
    3: "turned by 180°",
    4: "mirrored top to bottom",
    5: "mirrored over its diagonal",
    6: "turned by 90° clockwise",
    7: "mirrored over its other diagonal",
    8: "turned by 90° anticlockwise",
}
"""What each orientation asks for, by its number."""
MIRRORED_X, MIRRORED_Y, AXES_SWAPPED = (2, 3, 6, 7), (3, 4, 7, 8), (5, 6, 7, 8)
"""What is done to the stored picture: first its axes change places, then it is mirrored."""


def size_upright(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(width, height) of a stored picture once it is turned."""
    return size[::-1] if orientation in AXES_SWAPPED else size


class Turned:
    """A raster as its orientation asks for: levels, bounds and blocks are those of the upright picture."""

    def __init__(self, raster: Raster) -> None:
        self._raster = raster
        self._orientation = raster.facts.orientation
        self._swapped = self._orientation in AXES_SWAPPED
        self.levels = tuple(self._level(level, raster.levels[0]) for level in raster.levels)
        self.bounds_l0 = self._box(0, *raster.bounds_l0, upright=True)
        self.facts = self._facts(raster.facts)

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of a level of the upright picture, ``u8[h, w, 3]``."""
        pixels = self._raster.block(level, *self._box(level, x, y, w, h))
        if self._swapped:
            pixels = pixels.swapaxes(0, 1)
        if self._orientation in MIRRORED_X:
            pixels = pixels[:, ::-1]
        return np.ascontiguousarray(pixels[::-1] if self._orientation in MIRRORED_Y else pixels)

    def close(self) -> None:
        """Releases the file."""
        self._raster.close()

    def _box(
        self, level: int, x: int, y: int, w: int, h: int, *, upright: bool = False
    ) -> tuple[int, int, int, int]:
        """A box (x, y, w, h) of the upright level as stored, or the other way round with ``upright``."""
        whole = self.levels[level]
        if upright and self._swapped:
            x, y, w, h = y, x, h, w
        if self._orientation in MIRRORED_X:
            x = whole.width - x - w
        if self._orientation in MIRRORED_Y:
            y = whole.height - y - h
        return (y, x, h, w) if self._swapped and not upright else (x, y, w, h)

    def _level(self, stored: Level, base: Level) -> Level:
        """A level upright; what its writer left out at its end, as no whole pixel, may come first then."""
        left_out = base.width - stored.width * stored.scale[0], base.height - stored.height * stored.scale[1]
        size, scale, band = (stored.width, stored.height), stored.scale, stored.band
        if self._swapped:  # strips become columns: no number of rows is cheaper than another
            size, scale, band, left_out = size[::-1], scale[::-1], 0, left_out[::-1]
        x = left_out[0] if self._orientation in MIRRORED_X else 0.0
        y = left_out[1] if self._orientation in MIRRORED_Y else 0.0
        return Level(*size, scale, band, (x, y))

    def _facts(self, stored: Facts) -> Facts:
        what = (
            f"its orientation tag ({self._orientation}) is followed: it is {WORDS[self._orientation]}, and "
            "coordinates are those of the upright picture, which a program that ignores the tag does not show"
        )
        return replace(stored, findings=(*stored.findings, Finding("slide-turned", what)))


def upright(raster: Raster) -> Raster:
    """A raster whose picture is as its orientation asks for."""
    return raster if raster.facts.orientation == PLAIN else Turned(raster)
