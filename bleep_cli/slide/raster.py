"""What every slide format shares: one resampler over a pyramid of levels.

A format brings a :class:`Raster` (levels, and blocks of whole level pixels); :class:`RasterSlide` makes the
:class:`bleep_cli.types.Slide` of it: choice of the level, sub-pixel boxes, antialiasing, bounded pieces.

Planes: ``l0`` level-0 pixels; ``lv`` pixels of one level; ``rd`` pixels of a level reduced by whole factors
(:class:`bleep_cli.slide.axis.Axis`).
Pixel (0, 0) of every plane covers the box from (0, 0) to (1, 1): corners agree between planes, not centres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from bleep_cli.base.hashing import FileHash, file_identity
from bleep_cli.base.text import file_text
from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.slide.axis import Axis
from bleep_cli.slide.facts import Facts
from bleep_cli.types import U8

CONVERT = "convert it first, e.g. vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg"
COLOUR_NEEDED = "predictions need the colour picture of a section stained with H&E"

PIECE_PX = 8 << 20  # source pixels held at once while resampling (24 MB)
PIECE_WIDTH_PX = 8192
MAX_SHRINK = 16384  # level pixels per output pixel on one axis
LEVEL_SLACK = 1.01  # a level may be this much coarser than asked (its size is rounded)


@dataclass(frozen=True)
class Level:
    """One level of a pyramid."""

    width: int
    """Level pixels across."""
    height: int
    """Level pixels down."""
    scale: tuple[float, float]
    """(x, y) level-0 pixels per level pixel."""
    band: int = 0
    """How many rows are cheap to decode together, as strips are as wide as the slide; 0 = any number."""
    start: tuple[float, float] = (0.0, 0.0)
    """(x, y) where it begins, level-0 pixels: odd last rows are left out, and come first where it is mirrored."""


class Raster(Protocol):
    """The pixels of one file, as a format brings them."""

    levels: tuple[Level, ...]
    """From the finest, the slide as it was scanned, to the coarsest."""
    bounds_l0: tuple[int, int, int, int]
    """(x, y, width, height) of the scanned part in level-0 pixels; all of it where the format states none."""
    facts: Facts
    """What the file says of the picture."""

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels ``[y, y + h) × [x, x + w)``, all inside the level, as ``u8[h, w, 3]``. SlideError."""

    def close(self) -> None:
        """Releases the file."""


def white(w: int, h: int) -> U8:
    """``u8[h, w, 3]`` of 255."""
    return np.full((h, w, 3), 255, np.uint8)


def level_scale(size_l0: tuple[int, int], size_lv: tuple[int, int]) -> tuple[float, float]:
    """Level-0 pixels per level pixel on (x, y).

    Writers that halve drop the odd last row, so a level of 741 rows under 2967 is exactly 4 coarser, not
    4.004: a whole factor wins where it explains both sizes to within a pixel.
    """
    ratios = [a / b for a, b in zip(size_l0, size_lv, strict=True)]
    whole = round(sum(ratios) / 2)
    if whole >= 1 and all(abs(a / whole - b) <= 1 for a, b in zip(size_l0, size_lv, strict=True)):
        return float(whole), float(whole)
    return ratios[0], ratios[1]


class RasterSlide:
    """A :class:`bleep_cli.types.Slide` over any raster. Reads may come from several threads."""

    def __init__(
        self,
        path: Path,
        raster: Raster,
        mpp: float,
        mpp_source: str,
        findings: tuple[Finding, ...] = (),
        identity: tuple[int, ...] = (),
    ) -> None:
        self._path = path
        self._raster = raster
        self._mpp, self._mpp_source = mpp, mpp_source
        self._findings = findings
        self._hash = FileHash(path)
        self._identity = identity or file_identity(path)  # better what it was before it was opened

    @property
    def name(self) -> str:
        """File name without its folders."""
        return file_text(self._path.name)

    @property
    def size_l0(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""
        return self._raster.levels[0].width, self._raster.levels[0].height

    @property
    def mpp(self) -> float:
        """Micrometres per level-0 pixel."""
        return self._mpp

    @property
    def mpp_source(self) -> str:
        """Where that was found: a place in the file, or "given" by the user."""
        return self._mpp_source

    @property
    def scene(self) -> int:
        """Which of the pictures of its file it is, from 0."""
        return self._raster.facts.scene

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part in level-0 pixels."""
        return self._raster.bounds_l0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noticed when it was opened."""
        return self._findings

    @property
    def sha256(self) -> str:
        """Hex digest of the main file, read when first asked for. ``SlideError`` where it was replaced since."""
        try:
            found = self._hash.digest()
        except OSError as error:
            raise SlideError(f"{self.name}: cannot be read: {error.strerror}") from None
        self.check_unchanged()
        return found

    def hash_ahead(self) -> None:
        """Begins to hash the file, in a thread of its own, for whoever will ask for the hash."""
        self._hash.begin()

    def check_unchanged(self) -> None:
        """Raises ``SlideError`` unless the file is still the one that was opened: pixels of one under the hash of
        another would be believed."""
        if file_identity(self._path) != self._identity:
            raise SlideError(f"{self.name}: was replaced or changed while it was read; predict it again")

    def read(self, xy_l0: tuple[float, float], size_l0: tuple[float, float], out_px: tuple[int, int]) -> U8:
        """Region with top-left ``xy_l0`` and (w, h) ``size_l0``, resampled to ``out_px`` (w, h).

        A triangle filter as wide as the shrink (Pillow's BILINEAR): antialiased, every source pixel counts
        alike, and plain bilinear when enlarging.

        Returns
        -------
        ``u8[h, w, 3]``; white outside the slide.

        Raises
        ------
        SlideError
            The file's pixels cannot be decoded.
        ValueError
            The region is empty, not finite, or shrinks a level more than 16,384 times.
        """
        scale = [s / o if o > 0 else math.nan for s, o in zip(size_l0, out_px, strict=True)]
        if not (all(map(math.isfinite, (*xy_l0, *scale))) and min(scale) > 0):
            raise ValueError(f"not a region: {xy_l0=}, {size_l0=}, {out_px=}")
        index = self._level(min(scale))
        (dx, dy), (left, top) = self._raster.levels[index].scale, self._raster.levels[index].start
        if scale[0] / dx > MAX_SHRINK or scale[1] / dy > MAX_SHRINK:
            raise ValueError(f"{size_l0=} is too large for {out_px=}")
        x = Axis.of((xy_l0[0] - left) / dx, size_l0[0] / dx, out_px[0])
        y = Axis.of((xy_l0[1] - top) / dy, size_l0[1] / dy, out_px[1])
        return self._resample(index, x, y)

    def close(self) -> None:
        """Releases the file."""
        self._hash.stop()
        self._raster.close()

    def _level(self, scale: float) -> int:
        """The coarsest level that still has the asked-for resolution."""
        levels = self._raster.levels
        return max(i for i, lv in enumerate(levels) if i == 0 or max(lv.scale) <= scale * LEVEL_SLACK)

    def _resample(self, index: int, x: Axis, y: Axis) -> U8:
        out = np.empty((y.out, x.out, 3), np.uint8)
        cols = max(1, min(x.out, int(PIECE_WIDTH_PX / x.step)))
        band = min(PIECE_PX / (cols * x.step), (self._raster.levels[index].band or math.inf) / y.factor)
        rows = max(1, min(y.out, int(band / y.step)))
        for top in range(0, y.out, rows):
            for left in range(0, x.out, cols):
                w, h = min(cols, x.out - left), min(rows, y.out - top)
                out[top : top + h, left : left + w] = self._piece(index, x, y, (left, top, w, h))
        return out

    def _piece(self, index: int, x: Axis, y: Axis, part: tuple[int, int, int, int]) -> U8:
        left, top, w, h = part
        level, (width, height) = self._raster.levels[index], self.size_l0
        (dx, dy), (x0, y0) = level.scale, level.start
        cover_x = x.cover(left, w, -x0 / dx, (width - x0) / dx)
        cover_y = y.cover(top, h, -y0 / dy, (height - y0) / dy)
        if cover_x is None and cover_y is None:
            return self._filtered(index, x, y, part)
        cover_x, cover_y = (np.ones(n) if c is None else c for c, n in ((cover_x, w), (cover_y, h)))
        if not (cover_x.any() and cover_y.any()):
            return white(w, h)
        out = self._filtered(index, x, y, part)
        cover = cover_y[:, None, None] * cover_x[:, None]
        return np.rint(out * cover + 255 * (1 - cover)).astype(np.uint8)

    def _filtered(self, index: int, x: Axis, y: Axis, part: tuple[int, int, int, int]) -> U8:
        from PIL import Image

        left, top, w, h = part
        x0, nx, ax, bx = x.span(left, w)
        y0, ny, ay, by = y.span(top, h)
        if x.step == y.step == 1 and ax.is_integer() and ay.is_integer():
            return self._reduced(index, (x.factor, y.factor), (x0 + int(ax), y0 + int(ay), w, h))
        source = Image.fromarray(self._reduced(index, (x.factor, y.factor), (x0, y0, nx, ny)))
        return np.asarray(source.resize((w, h), Image.Resampling.BILINEAR, box=(ax, ay, bx, by)))

    def _reduced(self, index: int, factor: tuple[int, int], box: tuple[int, int, int, int]) -> U8:
        """Box ``(x, y, w, h)`` of the level averaged over whole ``factor`` (x, y), in bounded chunks."""
        from PIL import Image

        (fx, fy), (x, y, w, h) = factor, box
        if factor == (1, 1):
            return self._extended(index, x, y, w, h)
        out = np.empty((h, w, 3), np.uint8)
        cols = max(1, min(w, PIECE_PX // (fx * fy)))
        rows = max(1, min(h, PIECE_PX // (fx * fy * cols)))
        for top in range(0, h, rows):
            for left in range(0, w, cols):
                nw, nh = min(cols, w - left), min(rows, h - top)
                chunk = self._extended(index, (x + left) * fx, (y + top) * fy, nw * fx, nh * fy)
                out[top : top + nh, left : left + nw] = np.asarray(Image.fromarray(chunk).reduce(factor))
        return out

    def _extended(self, index: int, x: int, y: int, w: int, h: int) -> U8:
        """A block that may reach over the edge: the last pixels repeat, so that no white leaks in."""
        level = self._raster.levels[index]
        if x >= 0 and y >= 0 and x + w <= level.width and y + h <= level.height:
            return self._raster.block(index, x, y, w, h)
        (x0, nx), (y0, ny) = _inside(x, w, level.width), _inside(y, h, level.height)
        block = self._raster.block(index, x0, y0, nx, ny)
        left, top = min(max(x0 - x, 0), w - nx), min(max(y0 - y, 0), h - ny)
        return np.pad(block, ((top, h - ny - top), (left, w - nx - left), (0, 0)), mode="edge")


def _inside(start: int, count: int, size: int) -> tuple[int, int]:
    """(start, count) of the part within ``size``; one pixel at its edge where there is none."""
    first = min(max(start, 0), size - 1)
    return first, max(min(start + count, size) - first, 1)
