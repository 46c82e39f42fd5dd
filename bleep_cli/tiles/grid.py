"""Where the tiles of a slide lie: side by side over its tissue, or at given positions; and what they show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError, option
from bleep_cli.findings import Finding
from bleep_cli.limits import MOST_CELLS, MOST_TILES, over
from bleep_cli.slide.endings import slide_id
from bleep_cli.tiles.mask import Mask
from bleep_cli.tiles.plane import Fit, Taken, corner_l0, settle, share_inside
from bleep_cli.tiles.positions import Positions
from bleep_cli.tiles.tissue.ground import Boxes, Ground, Seen, Sums
from bleep_cli.types import F32, F64, I64, Bool, Slide, Str, TileGrid, TileSpec

MOST_INK = 0.3  # of a tile that the grid over found tissue keeps
CELLS_AT_ONCE = 1 << 20  # of the grid over a whole slide; of each some 100 bytes are held
GLASS, INK = 0.9, 0.1  # shares of a tile that are told


@dataclass(frozen=True)
class Laid:
    """Tiles on a slide."""

    grid: TileGrid
    """The n tiles."""
    obs: Mapping[str, F32]
    """f32[n] each: ``on_glass`` and ``under_ink``, shares of a tile (``tissue/ground.py``)."""
    findings: tuple[Finding, ...]
    """What was left out, and what is doubtful."""


def grid_over_tissue(
    slide: Slide, mask: Mask, spec: TileSpec, stride_um: float, min_tissue: float, name: str = ""
) -> Laid:
    """Tiles side by side every ``stride_um``, kept where tissue fills at least ``min_tissue`` of the cell.

    ``name`` is what their ids begin with, by default the slide's file name without its endings.
    Centres are exact multiples of the stride, never a running sum, so nothing drifts over a large slide. Tiles of
    nothing but glass or unscanned pixels are left out, and those under ink, where the tissue was found by colour.
    Raises ``SlideError`` when no tile is left.
    """
    stride_l0 = stride_um / slide.mpp
    centre, row, col = _enough_tissue(mask, cells_of(slide, stride_um), stride_l0, min_tissue)
    if len(row) > MOST_TILES:
        raise SlideError(f"{slide.name}: {over(f'{len(row):,} tiles', 'MOST_TILES')}; {_fewer(slide)}")
    if not len(row):
        raise SlideError(
            f"{slide.name}: no tile has {min_tissue:.0%} tissue; lower {option('min_tissue')}, "
            f"or outline it with {option('mask')}"
        )
    seen = mask.ground.seen(centre, spec.um[0] / slide.mpp)
    inked = (seen.under_ink > MOST_INK) & (not mask.given)
    keep = ~seen.bare & ~inked
    left_out = _left_out(slide, seen.bare, inked)
    if not keep.any():
        raise SlideError(
            f"{slide.name}: {'; '.join(finding.what for finding in left_out)}: no tile is left"
            + (f"; is {option('origin')} right, and {option('mask')} this slide's?" if mask.given else "")
        )
    centre, row, col, seen = centre[keep], row[keep], col[keep], seen.subset(keep)
    name = name or slide_id(slide.name)  # so that tiles of several slides can lie in one table
    ids = np.array([f"{name}_{r}x{c}" for r, c in zip(row, col, strict=True)], dtype=str)
    grid = TileGrid(centre, row, col, ids, _piece_of(mask, centre), spec, slide.mpp, stride_um)
    doubtful = _doubtful(slide, seen, np.ones(len(grid), bool))
    return Laid(grid, _obs(seen), (*mask.findings, *left_out, *doubtful))


def cells_of(slide: Slide, stride_um: float) -> tuple[int, int]:
    """(columns, rows) of the grid over all of a slide. ``SlideError`` for more than there can be."""
    columns, rows = (max(1, int(np.ceil(size * slide.mpp / stride_um))) for size in slide.size_l0)
    if columns * rows > MOST_CELLS:
        width, height = (size * slide.mpp / 1000 for size in slide.size_l0)
        what = f"{width:,.0f} × {height:,.0f} mm in {columns * rows:,} cells of {stride_um:g} µm"
        raise SlideError(f"{slide.name}: {over(what, 'MOST_CELLS')}; {_fewer(slide)}")
    return columns, rows


def _fewer(slide: Slide) -> str:
    """What makes fewer tiles of a slide."""
    return f"is {slide.mpp:.4g} µm per pixel ({option('mpp')}) right? A larger {option('stride_um')} makes fewer"


def _enough_tissue(mask: Mask, cells: tuple[int, int], stride_l0: float, least: float) -> tuple[F64, I64, I64]:
    """(f64[n, 2] centres, i64[n] rows, i64[n] columns) of the cells with as much tissue, looked at in parts."""
    columns, rows = cells
    table, found = Sums(mask.tissue), []
    step = max(1, CELLS_AT_ONCE // columns)
    for first in range(0, rows, step):
        here = np.arange(first * columns, min(first + step, rows) * columns, dtype=np.int64)
        row, col = np.divmod(here, columns)
        centre = (np.stack([col, row], axis=1) + 0.5) * stride_l0
        boxes = Boxes(mask.ground.size, centre, stride_l0, mask.ground.scale)
        enough = table.over(boxes) / boxes.area >= max(least, 1e-9)  # beyond the slide is glass
        found.append((centre[enough], row[enough], col[enough]))
    centres, in_rows, in_columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return centres, in_rows, in_columns


def grid_at(
    slide: Slide, positions: Positions, ground: Ground, spec: TileSpec, pitch_um: float, origin: Plane = "auto"
) -> Laid:
    """Tiles centred on given positions, in their order.

    ``origin`` says where these count from. Raises ``SlideError`` when most of them lie outside the slide (another
    slide's, or other pixels), or all of them where there is nothing to predict on.
    """
    xy, findings = _in_level0(slide, positions, ground, origin)
    width, height = slide.size_l0
    outside = (xy < 0).any(axis=1) | (xy[:, 0] > width) | (xy[:, 1] > height)
    if not len(xy) or outside.mean() > 0.5:
        raise SlideError(
            f"{slide.name}: {int(outside.sum())} of {len(xy)} positions lie outside its {width} × {height} px; "
            f"{option('at')} takes level-0 pixels of this slide"
        )
    seen = ground.seen(xy, spec.um[0] / slide.mpp)
    if seen.bare.all():
        raise SlideError(
            f"{slide.name}: all {len(xy)} positions lie on glass or unscanned pixels, white or black throughout: "
            f"there is nothing to predict on; is {option('origin')} right, and {option('at')} this slide's?"
        )
    region = np.full(len(xy), "at")
    grid = TileGrid(
        xy, positions.array_row, positions.array_col, positions.barcode, region, spec, slide.mpp, pitch_um
    )
    return Laid(grid, _obs(seen), (*findings, *_doubtful(slide, seen, positions.in_tissue)))


def _in_level0(slide: Slide, positions: Positions, ground: Ground, origin: Plane) -> tuple[F64, list[Finding]]:
    """Where positions lie, f64[n, 2] level-0 pixels."""
    if slide.bounds_l0[:2] == (0, 0) or not len(positions.barcode):
        return positions.xy_l0, []
    asked = positions.xy_l0[positions.in_tissue] if positions.in_tissue.any() else positions.xy_l0
    fits: dict[Taken, Fit] = {}
    for plane in ("level0", "bounds"):
        places = asked + corner_l0(slide, plane)
        fits[plane] = Fit(share_inside(asked, slide, plane), float(ground.at(places).mean()))
    usual: Taken = "bounds" if positions.of_qupath else "level0"
    taken, findings = settle(slide, "the table of positions", fits, origin, usual, known=positions.of_qupath)
    return positions.xy_l0 + corner_l0(slide, taken), findings


def _obs(seen: Seen) -> dict[str, F32]:
    return {"on_glass": seen.on_glass, "under_ink": seen.under_ink}


def _left_out(slide: Slide, bare: Bool, inked: Bool) -> list[Finding]:
    found = []
    if bare.any():
        what = f"{bare.sum()} of {len(bare)} tiles hold nothing but glass or unscanned pixels"
        found.append(Finding("glass-left-out", what, slide.name, "they are left out"))
    if inked.any():
        what = f"{inked.sum()} of {len(bare)} tiles lie under pen ink by over {MOST_INK:.0%}"
        found.append(Finding("tiles-ink-left-out", what, slide.name, "they are left out"))
    return found


def _doubtful(slide: Slide, seen: Seen, in_tissue: Bool) -> Iterator[Finding]:
    """What is predicted, and perhaps should not be."""
    glass, n = seen.on_glass > GLASS, len(seen.on_glass)
    if (glass & in_tissue).any():
        yield Finding(
            "tiles-on-glass",
            f"{(glass & in_tissue).sum()} of {n} tiles are {GLASS:.0%} or more glass or unscanned pixels",
            slide.name,
            'obs["on_glass"] tells which; what is predicted there means nothing',
        )
    if not in_tissue.all():
        what = f"{(~in_tissue).sum()} of {n} positions lie outside tissue, as their table says"
        mend = 'they are predicted; obs["in_tissue"] tells which'
        yield Finding("positions-outside-tissue", what, slide.name, mend)
    inked = int((seen.under_ink > INK).sum())
    if inked:
        yield Finding(
            "tiles-under-ink",
            f"{inked} of {n} tiles lie under pen ink by over {INK:.0%}",
            slide.name,
            'obs["under_ink"] tells how much of each',
        )


def _piece_of(mask: Mask, centre: F64) -> Str:
    """The piece of tissue under each centre; "0" where a centre lies in a hole or on glass."""
    width, height = mask.ground.size
    x, y = np.minimum((centre * mask.ground.scale).astype(np.int64), (width - 1, height - 1)).T
    return np.asarray(mask.pieces[y, x].astype(str))
