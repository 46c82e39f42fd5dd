"""Where the tiles of a slide lie, and the stream of their pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import SlideError
from bleep_cli.positions import Positions
from bleep_cli.tissue import Mask
from bleep_cli.types import F64, I64, U8, Slide, Str, TileGrid, TileSpec

NATIVE_TILE_PX = 512  # the largest usual edge of a slide's own tiles
STRIP_BYTES = 96 << 20  # half of what the slide reader keeps decoded
PIXEL = np.dtype("V3")


def grid_over_tissue(slide: Slide, mask: Mask, spec: TileSpec, stride_um: float, min_tissue: float) -> TileGrid:
    """Tiles side by side every ``stride_um``, kept where tissue fills at least ``min_tissue`` of the cell.

    Centres are exact multiples of the stride, never a running sum, so nothing drifts over a large slide.
    Raises ``SlideError`` when no cell has enough tissue.
    """
    stride_l0 = stride_um / slide.mpp
    columns, rows = (max(1, int(np.ceil(size / stride_l0))) for size in slide.size_l0)
    row, col = np.divmod(np.arange(rows * columns, dtype=np.int64), columns)
    centre = (np.stack([col, row], axis=1) + 0.5) * stride_l0
    keep = _fractions(mask, centre, stride_l0) >= max(min_tissue, 1e-9)
    if not keep.any():
        raise SlideError(
            f"{slide.name}: no tile has {min_tissue:.0%} tissue; lower --min-tissue, or outline it with --mask"
        )
    centre, row, col = centre[keep], row[keep], col[keep]
    ids = np.array([f"{r}x{c}" for r, c in zip(row, col, strict=True)], dtype=str)
    return TileGrid(centre, row, col, ids, _piece_of(mask, centre), spec, slide.mpp, stride_um)


def grid_at(slide: Slide, positions: Positions, spec: TileSpec, pitch_um: float) -> TileGrid:
    """Tiles centred on given positions, in their order.

    Raises ``SlideError`` when most of them lie outside the slide (another slide's, or other pixels).
    """
    xy = positions.xy_l0
    width, height = slide.size_l0
    outside = (xy < 0).any(axis=1) | (xy[:, 0] > width) | (xy[:, 1] > height)
    if not len(xy) or outside.mean() > 0.5:
        raise SlideError(
            f"{slide.name}: {int(outside.sum())} of {len(xy)} positions lie outside its {width} × {height} px; "
            "--at takes level-0 pixels of this slide"
        )
    region = np.full(len(xy), "at")
    return TileGrid(
        xy, positions.array_row, positions.array_col, positions.barcode, region, spec, slide.mpp, pitch_um
    )


def _fractions(mask: Mask, centre: F64, edge_l0: float) -> F64:
    """Tissue fraction of the squares of ``edge_l0`` around ``centre``: f64[n], by a summed-area table."""
    height, width = mask.tissue.shape
    table = np.zeros((height + 1, width + 1))
    table[1:, 1:] = np.cumsum(np.cumsum(mask.tissue, axis=0), axis=1)
    low = np.rint((centre - edge_l0 / 2) * mask.scale).astype(np.int64)
    high = np.maximum(np.rint((centre + edge_l0 / 2) * mask.scale).astype(np.int64), low + 1)
    area = np.prod(high - low, axis=1)  # what lies beyond the slide counts as glass
    (x0, y0), (x1, y1) = low.clip(0, (width, height)).T, high.clip(0, (width, height)).T
    tissue = table[y1, x1] - table[y0, x1] - table[y1, x0] + table[y0, x0]
    return np.asarray(tissue / area, np.float64)


def _piece_of(mask: Mask, centre: F64) -> Str:
    """The piece of tissue under each centre; "0" where a centre lies in a hole or on glass."""
    height, width = mask.pieces.shape
    x, y = np.minimum((centre * mask.scale).astype(np.int64), (width - 1, height - 1)).T
    return np.asarray(mask.pieces[y, x].astype(str))


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
