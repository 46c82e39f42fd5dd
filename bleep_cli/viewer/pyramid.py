"""A slide as deep zoom: square pieces at halves of its resolution, as JPEG.

Level 0 has one pixel, and each next one twice as many across, up to the last with the slide's own.
"""

from __future__ import annotations

import io
import math
from threading import Semaphore

from bleep_cli.types import U8, Slide
from bleep_cli.viewer.kept import Kept

PIECE_PX = 512
QUALITY = 90
KEPT_BYTES = 64 << 20
AT_ONCE = 2
"""Pieces that are read at the same time, whatever a browser asks for: each may take some tens of MB."""


class Pyramid:
    """The pieces of a slide. Any thread may ask."""

    def __init__(self, slide: Slide) -> None:
        self._slide, self._kept, self._few = slide, Kept(KEPT_BYTES), Semaphore(AT_ONCE)
        self.last_level = math.ceil(math.log2(max(slide.size_l0)))
        """The level of full resolution."""

    def size(self, level: int) -> tuple[int, int]:
        """(width, height) of a level in its own pixels."""
        shrink = 2 ** (self.last_level - level)
        width, height = self._slide.size_l0
        return math.ceil(width / shrink), math.ceil(height / shrink)

    def pixels(self, level: int, column: int, row: int) -> U8:
        """u8[h, w, 3] of a piece, at most :data:`PIECE_PX` on each side; white beyond the slide.

        ``LookupError`` where there is no such piece, ``SlideError`` where the slide cannot be read.
        """
        if not 0 <= level <= self.last_level:
            raise LookupError(f"no level {level}")
        (width, height), shrink = self.size(level), 2 ** (self.last_level - level)
        x, y = column * PIECE_PX, row * PIECE_PX
        if not (0 <= x < width and 0 <= y < height):
            raise LookupError(f"no piece {column}, {row} of level {level}")
        wide, high = min(PIECE_PX, width - x), min(PIECE_PX, height - y)
        with self._few:
            return self._slide.read((x * shrink, y * shrink), (wide * shrink, high * shrink), (wide, high))

    def jpeg(self, level: int, column: int, row: int) -> bytes:
        """The same as a JPEG; raises the same."""
        return self._kept.get((level, column, row), lambda: as_jpeg(self.pixels(level, column, row)))


def as_jpeg(pixels: U8) -> bytes:
    """u8[h, w, 3] as a JPEG without anything but the picture, its colours not thinned out."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=QUALITY, subsampling=0)
    return data.getvalue()
