"""Flat pictures that are opened again and again, decoded once: they wait in a temporary file in between.

Building a reference looks at each section's picture several times (where its spots lie, their tiles, the scale of
its tissue, its record), and in between at all others. A JPEG of 10,000 × 10,000 px takes seconds to decode and
300 MB to hold; from a file it is mapped, and only the one that is open takes memory.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from bleep_cli.base.hashing import file_identity
from bleep_cli.slide.pictures.flat import FlatRaster

MOST_BYTES = 16 << 30  # of the file: sixty such pictures; further ones are decoded each time


@dataclass(frozen=True)
class _Place:
    """Where a picture waits."""

    raster: FlatRaster
    """With no pixels in memory."""
    start: int
    """Byte of the file where they begin."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


class KeptPictures:
    """Pictures in one temporary file without a name, which goes with the process however that ends."""

    def __init__(self, file: IO[bytes], most_bytes: int) -> None:
        self._file, self._left, self._end = file, most_bytes, 0
        self._places: dict[tuple[str, tuple[int, ...]], _Place] = {}

    def flat(self, path: Path) -> FlatRaster:
        """The picture, decoded unless it was before; one that was replaced since is another. ``SlideError``."""
        key = str(path.absolute()), file_identity(path)
        if key not in self._places:
            raster = FlatRaster(path)
            place = self._put(raster)
            if place is None:
                return raster
            self._places[key] = place
        place = self._places[key]
        pixels = np.memmap(self._file, place.dtype, "r", place.start, place.shape)
        return place.raster.with_pixels(pixels.view(np.ndarray))

    def _put(self, raster: FlatRaster) -> _Place | None:
        """The pixels into the file; None where it holds enough, or the disk is full."""
        data = raster.data
        if data.nbytes > self._left:
            return None
        try:
            self._file.seek(self._end)
            self._file.write(data.data)
            self._file.flush()
        except OSError:
            self._left = 0
            return None
        place = _Place(raster.with_pixels(np.empty(0, data.dtype)), self._end, data.shape, data.dtype)
        self._end += data.nbytes
        self._left -= data.nbytes
        return place


# By context: readers of sections, fits and builds open the same pictures, and know nothing of each other.
_KEPT: ContextVar[KeptPictures | None] = ContextVar("kept pictures", default=None)


@contextmanager
def keeping_pictures() -> Iterator[None]:
    """Inside, :func:`flat_raster` decodes each picture once."""
    with tempfile.TemporaryFile(prefix="bleep-") as file:
        token = _KEPT.set(KeptPictures(file, MOST_BYTES))
        try:
            yield
        finally:
            _KEPT.reset(token)


def flat_raster(path: Path) -> FlatRaster:
    """A flat picture, decoded whole; inside :func:`keeping_pictures` not more than once. ``SlideError``."""
    kept = _KEPT.get()
    return FlatRaster(path) if kept is None else kept.flat(path)
