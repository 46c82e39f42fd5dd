"""The tiles of a TIFF pyramid, decoded once and kept a while."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path

import numpy as np

from bleep_cli.base.files.array_cache import ArrayCache
from bleep_cli.errors import SlideError, option
from bleep_cli.findings import Finding
from bleep_cli.slide.facts import Facts, Scene, Stored
from bleep_cli.slide.raster import Level, level_scale
from bleep_cli.slide.samples.pixels import ColourModel, to_rgb
from bleep_cli.slide.tiff.claims import pixel_size_claims, software
from bleep_cli.slide.tiff.contents import Contents, read_contents
from bleep_cli.slide.tiff.ifd import TiffBytes, chain
from bleep_cli.slide.tiff.page import Page
from bleep_cli.slide.tiff.tags import Compression, Tag
from bleep_cli.slide.tiff.tiles import per_plane, raw_tile
from bleep_cli.slide.tiff.told import told, without_copies, without_strangers
from bleep_cli.slide.turn import size_upright
from bleep_cli.types import U8

WHITE = 255
COLOURS: dict[ColourModel, str] = {
    "grey": "grey",
    "inverted": "grey, 0 is white",
    "palette": "palette",
    "rgb": "RGB",
    "cmyk": "CMYK",
}
"""Colour models in words."""
COMPRESSIONS = {
    Compression.NONE: "none",
    Compression.LZW: "LZW",
    Compression.JPEG: "JPEG",
    Compression.DEFLATE: "deflate",
    Compression.PACKBITS: "PackBits",
    Compression.DEFLATE_OLD: "deflate",
    Compression.APERIO_JPEG2000_RGB: "JPEG 2000",
    Compression.JPEG2000: "JPEG 2000",
    Compression.LZMA: "LZMA",
    Compression.ZSTD_OLD: "Zstandard",
    Compression.ZSTD: "Zstandard",
    Compression.WEBP_OLD: "WebP",
    Compression.WEBP: "WebP",
}
"""Compressions in words."""


class TiffRaster:
    """The pyramid of one picture of a TIFF file, plain or OME, as it is stored: not turned yet.

    ``scene`` is its index or its name; None takes the largest. SlideError where it is broken, of a kind that is
    not read, or not there.
    """

    levels: tuple[Level, ...]
    bounds_l0: tuple[int, int, int, int]
    facts: Facts

    def __init__(self, path: Path, cache_bytes: int, scene: int | str | None = None) -> None:
        self._file = TiffBytes(path)
        self._cache = ArrayCache(cache_bytes)
        try:
            contents = without_copies(self._file, read_contents(self._file))
            chosen = _chosen(self._file, contents, scene)
            pages, strangers = without_strangers(self._file, contents.pages(chosen))
            self._pages, findings = told(self._file, contents.scenes[chosen][0], pages)
            findings += strangers
            if scene is None:
                findings += _passed_over(contents, chosen)
            size = self._pages[0].width, self._pages[0].height
            self.levels = tuple(_level(size, page, cache_bytes) for page in self._pages)
            self.bounds_l0 = (0, 0, *size)
            self.facts = _facts(self._file, contents, chosen, self._pages, findings)
            for index in np.flatnonzero(self._pages[0].counts[: per_plane(self._pages[0])])[[0, -1]].tolist():
                self._tile(0, index)  # a file that cannot be decoded is refused now
        except BaseException:
            self.close()
            raise

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of a level, ``u8[h, w, 3]``, white where never written; decodes the touched tiles only."""
        page, out = self._pages[level], np.empty((h, w, 3), np.uint8)
        cols, _ = page.grid
        for row in range(y // page.tile_h, -(-(y + h) // page.tile_h)):
            for col in range(x // page.tile_w, -(-(x + w) // page.tile_w)):
                tile = self._tile(level, row * cols + col)
                left, top = col * page.tile_w, row * page.tile_h
                a, b = max(x, left), min(x + w, left + page.tile_w)
                c, d = max(y, top), min(y + h, top + page.tile_h)
                part = WHITE if tile is None else tile[c - top : d - top, a - left : b - left]
                out[c - y : d - y, a - x : b - x] = part
        return out

    def close(self) -> None:
        """Releases the file."""
        self._file.close()

    def _tile(self, level: int, index: int) -> U8 | None:
        """RGB of one tile, cut to the picture; None where it was never written (white)."""
        page = self._pages[level]
        if not page.counts[index :: per_plane(page)].any():
            return None
        return self._cache.get((level, index), lambda: self._decode(level, index))

    def _decode(self, level: int, index: int) -> U8:
        page = self._pages[level]
        return to_rgb(raw_tile(self._file, page, index, level), page.fmt)


def _level(size_l0: tuple[int, int], page: Page, cache_bytes: int) -> Level:
    scale = level_scale(size_l0, (page.width, page.height))
    rows_cached = cache_bytes // 2 // (3 * page.width)
    band = 0 if page.tiled else max(page.tile_h, rows_cached)
    return Level(page.width, page.height, scale, band)


def _chosen(file: TiffBytes, contents: Contents, scene: int | str | None) -> int:
    """The index of a scene by index or name; the largest without either. SlideError where it is not there."""
    if scene is None:
        return contents.largest()
    names = [picture.name.casefold() for picture, _ in contents.scenes]
    if isinstance(scene, str) and names.count(scene.casefold()) == 1:
        return names.index(scene.casefold())
    index = int(scene) if str(scene).isdecimal() else -1
    if 0 <= index < len(names):
        return index
    raise file.bad(f"{option('scene')} {scene} is none of its scenes: {_listed(_scenes(contents))}")


def _scenes(contents: Contents) -> tuple[Scene, ...]:
    return tuple(
        Scene(
            i,
            picture.name,
            size_upright(picture.size, page.orientation),
            tuple(pixel_size_claims(picture.planes[0], picture.ome)),
        )
        for i, (picture, page) in enumerate(contents.scenes)
    )


def _listed(scenes: tuple[Scene, ...]) -> str:
    return ", ".join(map(str, scenes))


def _passed_over(contents: Contents, chosen: int) -> tuple[Finding, ...]:
    """What is to be said of the other scenes, and of pictures as large that cannot be read."""
    scenes, found = _scenes(contents), []
    if len(scenes) > 1:
        what = f"it holds {len(scenes)} scenes, of which {chosen}, the largest, is read: {_listed(scenes)}"
        mend = f"{option('scene')} chooses another by its index or name"
        found.append(Finding("scenes-ignored", what, mend=mend))
    if contents.unreadable:
        found.append(Finding("scenes-unreadable", f"it also holds {'; '.join(contents.unreadable)}"))
    return tuple(found)


def compressions(path: Path) -> dict[tuple[int, int], str]:
    """How the pictures of a TIFF file, a vendor's too, are stored, by their (width, height); none is decoded."""
    found: dict[tuple[int, int], str] = {}
    with (
        closing(TiffBytes(path)) as file,
        suppress(SlideError),
    ):  # a vendor's own way with TIFF; what was found holds
        for ifd in chain(file):
            stated = ifd.one(Tag.COMPRESSION, Compression.NONE)
            if stated in tuple(Compression):
                size = ifd.one(Tag.IMAGE_WIDTH), ifd.one(Tag.IMAGE_LENGTH)
                found.setdefault(size, COMPRESSIONS[Compression(stated)])
    return found


def _facts(
    file: TiffBytes, contents: Contents, chosen: int, pages: list[Page], findings: tuple[Finding, ...]
) -> Facts:
    picture, _ = contents.scenes[chosen]
    page, fmt = pages[0], pages[0].fmt
    kind = "OME-TIFF" if picture.ome is not None else "TIFF"
    alpha = " with alpha" if fmt.alpha is not None else ""
    return Facts(
        f"{kind} (BigTIFF)" if file.big else kind,
        _scenes(contents),
        tuple(Stored((p.tile_w, p.tile_h), COMPRESSIONS[p.compression]) for p in pages),
        scene=chosen,
        writer=software(picture.planes[0]),
        colours=f"{COLOURS[fmt.model]}{alpha}{' in separate planes' if page.planes > 1 else ''}",
        sample_type=f"uint{8 * page.dtype.itemsize}",
        bits=fmt.white.bit_length() if page.dtype.itemsize == 2 else 8,
        orientation=page.orientation,
        not_read=contents.not_read + contents.unreadable,
        findings=findings,
    )
