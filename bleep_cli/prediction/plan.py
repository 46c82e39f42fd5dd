"""A slide opened and its tiles laid: all that is known before anything is computed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.bundle.contents import BundleInfo
from bleep_cli.bundle.signature import Signature
from bleep_cli.findings import Finding
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.signatures.scale import NO_CHECK, ScaleCheck, told_of, weigh
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.grid import grid_at, grid_over_tissue
from bleep_cli.tiles.positions import read_positions
from bleep_cli.tiles.tissue import find_tissue, require_tissue
from bleep_cli.types import Bool, Slide, TileGrid

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
    scale: ScaleCheck = NO_CHECK
    """What its tissue says of the slide's scale."""


def plan(path: Path, info: BundleInfo, options: PredictOptions, signature: Signature | None = None) -> Plan:
    """Opens a slide, lays its tiles and weighs its scale; all that ``--dry-run`` needs.

    ``signature`` is the bundle's, None leaves the scale unchecked. Raises ``SlideError`` or ``UsageError``; the
    slide is closed then.
    """
    slide = open_slide(path, options.mpp)
    try:
        return _plan(slide, info, options, signature)
    except BaseException:
        slide.close()
        raise


def _plan(slide: Slide, info: BundleInfo, options: PredictOptions, signature: Signature | None) -> Plan:
    stride_um = options.stride_um or info.tile.um[0]
    if options.at is not None:
        positions = read_positions(options.at)
        grid = grid_at(slide, positions, info.tile, stride_um)
        in_tissue = positions.in_tissue
    else:
        mask = find_tissue(slide, options.mask)
        require_tissue(mask, slide.name)
        grid = grid_over_tissue(slide, mask, info.tile, stride_um, options.min_tissue)
        in_tissue = np.ones(len(grid), bool)
    findings = list(slide.findings)
    if slide.mpp > COARSE * info.tile.mpp():
        told = (
            f"{slide.mpp:.3g} µm/px, the reference's tiles have {info.tile.mpp():.3g}: "
            "detail that the image tower was trained on is missing"
        )
        findings.append(Finding("slide-coarse", told, slide.name))
    scale = weigh(slide, grid, in_tissue, signature, info.sections)
    findings += told_of(scale, slide)
    return Plan(slide, grid, in_tissue, tuple(findings), options, scale)
