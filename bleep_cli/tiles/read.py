"""Where the tiles of a slide lie, and the stream of their pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bleep_cli.types import I64, U8, Slide, TileGrid

NATIVE_TILE_PX = 512  # the largest usual edge of a slide's own tiles
STRIP_BYTES = 96 << 20  # half of what the slide reader keeps decoded


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
    for field in range(fields):
        read_field(slide, grid, rows, field, out)
    return out


def read_field(slide: Slide, grid: TileGrid, rows: I64, field: int, out: U8) -> None:
    """One field of the tiles ``rows`` i64[b] into its channels of ``out`` u8[b, px, px, 3 * fields]."""
    px, edge = grid.spec.px, grid.edge_l0(field)
    for i, (x, y) in enumerate((grid.centre_l0[rows] - edge / 2).tolist()):
        put(slide.read((x, y), (edge, edge), (px, px)), field_of(out[i], field))


def field_of(tile: U8, field: int) -> U8:
    """The channels of one field, u8[px, px, 3], of a tile u8[px, px, 3 * fields]: a view."""
    return tile[..., 3 * field : 3 * field + 3]


def put(pixels: U8, into: U8) -> None:
    """RGB u8[h, w, 3] into a view of as many pixels."""
    if into.strides[1] == 3:
        into[:] = pixels
        return
    for channel in range(3):  # NumPy would go through other fields' pixels three bytes at a time
        into[..., channel] = pixels[..., channel]


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
