"""Where the tiles of a slide lie: side by side over its tissue, or at given positions."""

from __future__ import annotations

import numpy as np

from bleep_cli.errors import SlideError, option
from bleep_cli.slide.open import slide_id
from bleep_cli.tiles.positions import Positions
from bleep_cli.tiles.tissue import Mask
from bleep_cli.types import F64, Slide, Str, TileGrid, TileSpec


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
            f"{slide.name}: no tile has {min_tissue:.0%} tissue; lower {option('min_tissue')}, "
            f"or outline it with {option('mask')}"
        )
    centre, row, col = centre[keep], row[keep], col[keep]
    name = slide_id(slide.name)  # so that tiles of several slides can lie in one table
    ids = np.array([f"{name}_{r}x{c}" for r, c in zip(row, col, strict=True)], dtype=str)
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
            f"{option('at')} takes level-0 pixels of this slide"
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
