"""Where the tiles of a slide lie, and the stream of their pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bleep_cli.types import I64, U8, Slide, TileGrid

NATIVE_TILE_PX = 512  # the largest usual edge of a slide's own tiles
STRIP_BYTES = 96 << 20  # half of what the slide reader keeps decoded
PIXEL = np.dtype("V3")


def stream_tiles(slide: Slide, grid: TileGrid, batch: int) -> Iterator[tuple[int, U8]]:
    """Yields ``(first tile, u8[b, px, px, 3 * fields])`` in grid order; fields stacked along the channels."""
    for start in range(0, len(grid), batch):
        yield start, read_tiles(slide, grid, start, min(start + batch, len(grid)))


def read_tiles(slide: Slide, grid: TileGrid, start: int, stop: int) -> U8:
    """The pixels of tiles ``start`` to ``stop``: ``u8[b, px, px, 3 * fields]``."""
    return read_rows(slide, grid, np.arange(start, stop))


def read_rows(slide: Slide, grid: TileGrid, rows: I64) -> U8:
    """The pixels of the tiles ``rows`` i64[b]: ``u8[b, px, px, 3 * fields]``."""
    px, fields = grid.spec.px, len(grid.spec.um)
    out = np.empty((len(rows), px, px, 3 * fields), np.uint8)
    pixels = out.view(PIXEL)  # [b, px, px, fields]: whole pixels are copied, not their three bytes one by one
    for field in range(fields):
        read_field(slide, grid, rows, field, pixels)
    return out


def read_field(slide: Slide, grid: TileGrid, rows: I64, field: int, pixels: NDArray[np.void]) -> None:
    """One field of the tiles ``rows`` into ``pixels`` [b, px, px, fields] of whole RGB pixels (``PIXEL``)."""
    px, edge = grid.spec.px, grid.edge_l0(field)
    for i, (x, y) in enumerate(grid.centre_l0[rows] - edge / 2):
        tile = np.ascontiguousarray(slide.read((x, y), (edge, edge), (px, px)))
        pixels[i, :, :, field] = tile.view(PIXEL)[..., 0]


def reading_order(grid: TileGrid, strip_bytes: int = STRIP_BYTES) -> I64:
    """The tiles in the order that decodes the slide's own tiles once: i64[n], a permutation.

    Bands of rows from left to right. A slide so wide that a band's pixels would push each other out of the
    reader's cache goes in strips of columns; ``strip_bytes`` bounds the pixels that a strip's band touches.
    """
    largest, band = grid.edge_l0(len(grid.spec.um) - 1), grid.edge_l0(0)
    # What a band touches reaches beyond it: by a native tile on each side, by a block of a shared field on one.
    height = largest + (largest if len(grid.spec.um) > 1 else 0) + 2 * NATIVE_TILE_PX
    strip = max(strip_bytes / (3 * height), 2 * largest)
    x, y = grid.centre_l0.T
    return np.lexsort((np.arange(len(grid)), x, np.floor(y / band), np.floor(x / strip)))
