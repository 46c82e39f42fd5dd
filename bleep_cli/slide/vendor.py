"""Vendor formats (SVS, NDPI, MRXS, SCN, BIF, VMS, Philips, DICOM, ...), read by OpenSlide."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.errors import SlideError
from bleep_cli.slide.facts import Facts, Scene, Stored
from bleep_cli.slide.mpp import Claim
from bleep_cli.slide.raster import Level, level_scale
from bleep_cli.slide.samples.pixels import PixelFormat, to_rgb
from bleep_cli.types import U8

if TYPE_CHECKING:
    from openslide import OpenSlide

GENERIC = "generic-tiff"
FORMATS = {
    "aperio": "Aperio SVS",
    "dicom": "DICOM",
    "hamamatsu": "Hamamatsu NDPI or VMS",
    "leica": "Leica SCN",
    "mirax": "MIRAX (MRXS)",
    "philips-tiff": "Philips TIFF",
    "sakura": "Sakura SVSLIDE",
    "synthetic": "synthetic",
    "trestle": "Trestle TIFF",
    "ventana": "Ventana BIF",
    "zeiss": "Zeiss ZVI or CZI",
}
"""What OpenSlide's names of vendors stand for."""
RGBA = PixelFormat("rgb", alpha=3)
BOUNDS = tuple(f"openslide.bounds-{key}" for key in ("x", "y", "width", "height"))
TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2.1": "none",
    "1.2.840.10008.1.2.4.50": "JPEG",
    "1.2.840.10008.1.2.4.90": "JPEG 2000",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
"""How DICOM names the compressions that OpenSlide reads."""


def vendor(path: Path) -> str | None:
    """OpenSlide's name of the file's vendor format; None where it is none (or is a plain tiled TIFF)."""
    import openslide

    try:
        found: str | None = openslide.OpenSlide.detect_format(path)
    except (openslide.OpenSlideError, OSError):
        return None
    return None if found == GENERIC else found


class OpenSlideRaster:
    """The levels of one vendor slide; label and macro images are never touched. SlideError where broken."""

    levels: tuple[Level, ...]
    bounds_l0: tuple[int, int, int, int]
    facts: Facts

    def __init__(self, path: Path, cache_bytes: int) -> None:
        import openslide

        self._path = path
        self._errors = (openslide.OpenSlideError, OSError, ValueError, MemoryError)
        try:
            self._slide: OpenSlide = openslide.OpenSlide(path)
            self._slide.set_cache(openslide.OpenSlideCache(cache_bytes))
            stated = self._slide.properties
            self._stated = {key: stated.get(key, "") for key in stated}  # one that is no text counts as unstated
            self._associated = tuple(sorted(self._slide.associated_images))  # their names; none is decoded
            self._downsamples = [float(d) for d in self._slide.level_downsamples]
            sizes = list(self._slide.level_dimensions)
        except self._errors as error:
            raise self._bad(error) from None
        self.levels = tuple(Level(*size, level_scale(sizes[0], size)) for size in sizes)
        self.bounds_l0 = self._bounds(sizes[0])
        self.facts = self._facts()
        x, y, w, h = self.bounds_l0
        for at in ((x, y), (x + w // 2, y + h // 2), (x + w - 1, y + h - 1)):
            self.block(0, *at, 1, 1)  # a file that cannot be decoded is refused now

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of a level, ``u8[h, w, 3]``, white where nothing was scanned."""
        scale = self._downsamples[level]  # OpenSlide's own, to reach whole level pixels
        try:
            region = self._slide.read_region((round(x * scale), round(y * scale)), level, (w, h))
        except self._errors as error:
            raise self._bad(error) from None
        return to_rgb(np.asarray(region), RGBA)

    def close(self) -> None:
        """Releases the file."""
        self._slide.close()

    def _facts(self) -> Facts:
        vendor = self._stated.get("openslide.vendor", "")
        x, y = self._number("openslide.mpp-x"), self._number("openslide.mpp-y")
        x, y = x or y, y or x
        claims = (Claim("the slide's metadata", x, y),) if x and y else ()
        size = self.levels[0].width, self.levels[0].height
        scene = Scene(0, "", size, claims, self._number("openslide.objective-power"))
        stored = tuple(map(self._stored, range(len(self.levels))))
        return Facts(FORMATS.get(vendor, vendor), (scene,), stored, writer=vendor, not_read=self._associated)

    def _stored(self, level: int) -> Stored:
        """The tiles of a level; OpenSlide says of the compression only what DICOM calls it."""
        edges = [self._number(f"openslide.level[{level}].tile-{edge}") for edge in ("width", "height")]
        tile = (int(edges[0]), int(edges[1])) if edges[0] and edges[1] else None
        syntax = TRANSFER_SYNTAXES.get(self._stated.get("dicom.TransferSyntaxUID", ""))
        return Stored(tile, syntax) if syntax else Stored(tile)

    def _bounds(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        x, y, w, h = (int(self._number(key) or 0) for key in BOUNDS)
        inside = 0 <= x < x + w <= size[0] and 0 <= y < y + h <= size[1]
        return (x, y, w, h) if inside else (0, 0, *size)

    def _number(self, key: str) -> float | None:
        try:
            value = float(self._stated[key])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    def _bad(self, error: Exception) -> SlideError:
        """OpenSlide's message without the folder it may name."""
        text = str(error)
        for folder in {str(self._path.parent), str(self._path.parent.resolve())}:
            text = text.replace(folder + "/", "")
        return SlideError(f"{self._path.name}: OpenSlide cannot read it: {text}")
