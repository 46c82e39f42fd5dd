"""The tiles of a TIFF pyramid, decoded once and kept a while."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bleep_cli.base.array_cache import ArrayCache
from bleep_cli.slide.limits import CODEC_ERRORS, check_ratio
from bleep_cli.slide.pixels import Samples, to_rgb
from bleep_cli.slide.raster import Level, level_scale
from bleep_cli.slide.tiff.claims import pixel_size_claims
from bleep_cli.slide.tiff.codec import IMAGE_CODECS, decode_bytes, decode_image
from bleep_cli.slide.tiff.ifd import TiffBytes
from bleep_cli.slide.tiff.page import Page
from bleep_cli.slide.tiff.pyramid import read_pyramid
from bleep_cli.types import U8

WHITE = 255


class TiffRaster:
    """The pyramid of one TIFF file, plain or OME. SlideError where it is broken or of a kind that is not read."""

    levels: tuple[Level, ...]
    bounds_l0: tuple[int, int, int, int]

    def __init__(self, path: Path, cache_bytes: int) -> None:
        self._file = TiffBytes(path)
        self._cache = ArrayCache(cache_bytes)
        try:
            base, self._pages = read_pyramid(self._file)
            self.claims = tuple(pixel_size_claims(base))
            size = self._pages[0].width, self._pages[0].height
            self.levels = tuple(_level(size, page, cache_bytes) for page in self._pages)
            self.bounds_l0 = (0, 0, *size)
            for index in np.flatnonzero(self._pages[0].counts[: self._per_plane(0)])[[0, -1]].tolist():
                self._tile(0, index)  # a file that cannot be decoded is refused now
        except BaseException:
            self.close()
            raise

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of a level, ``u8[h, w, 3]``, white where never written; decodes the touched tiles only."""
        page, out = self._pages[level], np.empty((h, w, 3), np.uint8)
        for row in range(y // page.tile_h, -(-(y + h) // page.tile_h)):
            for col in range(x // page.tile_w, -(-(x + w) // page.tile_w)):
                tile = self._tile(level, row * page.grid[0] + col)
                left, top = col * page.tile_w, row * page.tile_h
                a, b = max(x, left), min(x + w, left + page.tile_w)
                c, d = max(y, top), min(y + h, top + page.tile_h)
                part = WHITE if tile is None else tile[c - top : d - top, a - left : b - left]
                out[c - y : d - y, a - x : b - x] = part
        return out

    def close(self) -> None:
        """Releases the file."""
        self._file.close()

    def _per_plane(self, level: int) -> int:
        cols, rows = self._pages[level].grid
        return cols * rows

    def _tile(self, level: int, index: int) -> U8 | None:
        """RGB of one tile, cut to the picture; None where it was never written (white)."""
        counts = self._pages[level].counts[index :: self._per_plane(level)]
        if not counts.any():
            return None
        return self._cache.get((level, index), lambda: self._decode(level, index))

    def _decode(self, level: int, index: int) -> U8:
        page = self._pages[level]
        shape = page.shape(index)
        try:
            planes = [self._segment(page, i) for i in range(index, len(page.offsets), self._per_plane(level))]
            samples = planes[0] if page.planes == 1 else np.concatenate(planes, axis=2)
            cols, _ = page.grid
            w = min(shape.cols, page.width - index % cols * page.tile_w)
            h = min(shape.rows, page.height - index // cols * page.tile_h)
            return to_rgb(samples[:h, :w], page.fmt)
        except CODEC_ERRORS as error:
            place = f"{'tile' if page.tiled else 'strip'} {index} of level {level}"
            raise self._file.bad(f"{place} cannot be decoded: {error}") from None

    def _segment(self, page: Page, segment: int) -> Samples:
        """``[h, w, samples of the plane]`` of one stored segment."""
        offset, count = int(page.offsets[segment]), int(page.counts[segment])
        shape = page.shape(segment % (len(page.offsets) // page.planes))
        check_ratio(shape.rows * shape.row_bytes, count)
        data = self._file.read(offset, count)
        if page.compression in IMAGE_CODECS:
            return decode_image(data, page.compression, shape, page.photometric, page.tables)
        return decode_bytes(data, page.compression, shape, page.predictor)


def _level(size_l0: tuple[int, int], page: Page, cache_bytes: int) -> Level:
    scale = level_scale(size_l0, (page.width, page.height))
    rows_cached = cache_bytes // 2 // (3 * page.width)
    band = 0 if page.tiled else max(page.tile_h, rows_cached)
    return Level(page.width, page.height, scale, band)
