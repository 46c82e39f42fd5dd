"""A slide opened and its tiles laid: all that is known before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bleep_cli.bundle.contents import BundleInfo
from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.prediction.excluded import asks_for_hash, left_out
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.signatures.scale import NO_CHECK, ScaleCheck, check_scale, told_of
from bleep_cli.slide.endings import slide_id
from bleep_cli.slide.open import open_slide, refuse_black
from bleep_cli.tiles.grid import cells_of, grid_at, grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.tiles.positions import read_positions
from bleep_cli.tiles.tissue.ground import survey
from bleep_cli.types import F32, Bool, Slide, TileGrid, TileSpec

FEWEST_PX = 8  # slide pixels across a tile, below which nothing of the tissue is to be seen
COARSE = 2.0  # a slide this much coarser than the reference's tiles is worth a warning


@dataclass(frozen=True)
class Plan:
    """An open slide and the tiles to predict on it."""

    slide: Slide
    grid: TileGrid
    """The n tiles."""
    in_tissue: Bool
    """bool[n]; a given position may say that it lies on glass."""
    findings: tuple[Finding, ...]
    """What was noticed of the slide and its tiles."""
    options: PredictOptions
    """What the tiles were laid by."""
    name: str
    """What results call the slide."""
    obs: Mapping[str, F32] = field(default_factory=dict)
    """f32[n] each, by name: what the tiles show (:class:`bleep_cli.tiles.grid.Laid`)."""
    scale: ScaleCheck = NO_CHECK
    """What its tissue says of the slide's scale."""
    left_out: tuple[str, ...] = ()
    """Ids of the reference's sections that have no part (``excluded.py``)."""


def plan(
    path: Path, info: BundleInfo, options: PredictOptions, name: str = "", *, signature: Signature | None = None
) -> Plan:
    """Opens a slide, lays its tiles and weighs its scale; all that ``--dry-run`` needs. ``name`` is what results
    call the slide, by default its file name without its endings.

    ``signature`` is the bundle's, None leaves the scale unchecked. Raises ``SlideError`` or ``UsageError``; the
    slide is closed then.
    """
    _check_places(options)
    slide = open_slide(path, options.mpp, scene=options.scene, mpp_if_unstated=options.mpp_if_unstated)
    try:
        return _plan(slide, info, options, name or slide_id(slide.name), signature)
    except BaseException:
        slide.close()
        raise


def _check_places(options: PredictOptions) -> None:
    if options.at is not None and options.mask is not None:
        raise UsageError(f"{option('at')} names the places and {option('mask')} outlines them; give one of both")
    if options.mask_class and options.mask is None:
        raise UsageError(f"{option('mask_class')} names classes of a {option('mask')}; give one")
    if options.origin != "auto" and options.mask is None and options.at is None:
        raise UsageError(f"{option('origin')} is of a {option('mask')} or of {option('at')}; give one of them")


def _plan(slide: Slide, info: BundleInfo, options: PredictOptions, name: str, signature: Signature | None) -> Plan:
    refuse_black(slide)
    if asks_for_hash(info):
        slide.hash_ahead()
    findings = [*slide.findings, *check_resolution(slide, info.tile)]
    stride_um = options.stride_um or info.tile.um[0]
    if options.at is not None:
        positions = read_positions(options.at, lambda: slide.mpp)
        findings += positions.findings
        laid = grid_at(slide, positions, survey(slide), info.tile, stride_um, options.origin)
        in_tissue = positions.in_tissue
    else:
        cells_of(slide, stride_um)  # before the slide is looked at
        mask = find_tissue(slide, options.mask, origin=options.origin, classes=options.mask_class)
        laid = grid_over_tissue(slide, mask, info.tile, stride_um, options.min_tissue, name)
        in_tissue = np.ones(len(laid.grid), bool)
    scale = check_scale(slide, laid.grid, in_tissue, signature, info.sections)
    own = left_out(info, options, slide)
    findings += [*laid.findings, *told_of(scale, slide), *own.findings]
    return Plan(slide, laid.grid, in_tissue, tuple(findings), options, name, laid.obs, scale, own.sections)


def check_resolution(slide: Slide, tile: TileSpec) -> list[Finding]:
    """What is to be said of a slide that is coarser than a reference's tiles.

    Raises ``SlideError`` for one that shows a tile in a handful of pixels.
    """
    across = tile.um[0] / slide.mpp
    if across < FEWEST_PX:
        raise SlideError(
            f"{slide.name}: {slide.mpp:.4g} µm per pixel ({slide.mpp_source}) is too coarse for this reference: "
            f"its tiles of {tile.um[0]:g} µm would be {across:.1f} pixels across, {FEWEST_PX} are needed; use the "
            f"slide's full resolution, or give {option('mpp')} if that is not its pixel size"
        )
    if slide.mpp <= COARSE * tile.mpp():
        return []
    what = (
        f"{slide.mpp:.3g} µm/px, the reference's tiles have {tile.mpp():.3g}: "
        "detail that the image tower was trained on is missing"
    )
    return [Finding("slide-coarse", what, slide.name)]
