"""Outlines laid over a slide, in the plane that they are counted in, and what speaks against a mask."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.plane import Extent, Fit, Taken, corner_l0, settle, share_inside
from bleep_cli.types import F64, Bool

PLANES: tuple[Taken, ...] = ("level0", "bounds")
EVERYTHING = 0.95  # a mask over this much of the scanned part marks nothing in particular,
ALL_TISSUE = 0.9  # unless as much of it looks like tissue
OFF_TISSUE = 0.2  # of a mask on tissue, with most of the tissue beside it
BEYOND = 0.05  # of a mask's corners beyond the slide


class Raster(Protocol):
    """Tissue on a raster over the whole of a slide."""

    @property
    def scale(self) -> float:
        """Raster pixels per level-0 pixel."""

    @property
    def stained(self) -> Bool:
        """bool[h, w]"""


class Laid(NamedTuple):
    """Outlines on a slide."""

    tissue: Bool
    """bool[h, w] what they mark, on the raster."""
    corner_l0: tuple[float, float]
    """(x, y) of what they count from, in level-0 px."""
    findings: list[Finding]


def lay_outlines(slide: Extent, ground: Raster, given: GeoJson, origin: Plane) -> Laid:
    """Outlines laid where ``origin`` says, or on slides with bounds where the tissue of ``ground`` is.

    Raises ``SlideError`` for outlines that miss the slide.
    """
    points = given.points
    cropped = slide.bounds_l0[:2] != (0, 0)
    height, width = ground.stained.shape
    laid: dict[Taken, Bool] = {
        plane: given.laid((width, height), ground.scale, corner_l0(slide, plane))
        for plane in PLANES[: 1 + cropped]
    }
    plane: Taken = "level0"
    findings: list[Finding] = []
    if cropped:
        marked = max(1, *(int(tissue.sum()) for tissue in laid.values()))  # one of them may be cut by the edge
        fits = {
            plane: Fit(share_inside(points, slide, plane), float((tissue & ground.stained).sum() / marked))
            for plane, tissue in laid.items()
        }
        plane, findings = settle(slide, given.name, fits, origin, "bounds")
    corner = corner_l0(slide, plane)
    _check_touches(slide, given, points + corner)
    return Laid(laid[plane], corner, [*findings, *_beyond(slide, given, corner)])


def _check_touches(slide: Extent, given: GeoJson, points_l0: F64) -> None:
    low, high = points_l0.min(axis=0), points_l0.max(axis=0)
    if (high <= 0).any() or (low >= slide.size_l0).any():
        raise SlideError(
            f"{slide.name}: the outlines of {given.name} do not touch the slide: they reach {_extent(low, high)}, "
            f"the slide {_extent(np.zeros(2), np.array(slide.size_l0))} (level-0 px)"
        )


def _beyond(slide: Extent, given: GeoJson, corner: tuple[float, float]) -> Iterator[Finding]:
    outlines = [area.rings[0] + corner for area in given.areas]
    lost = sum(bool((ring < 0).all(axis=0).any() or (ring > slide.size_l0).all(axis=0).any()) for ring in outlines)
    points = np.concatenate(outlines)
    beyond = ((points < 0) | (points > slide.size_l0)).any(axis=1).mean()
    if beyond > BEYOND or lost:
        what = f"{beyond:.0%} of the corners of {given.name} and {lost} of its {len(outlines)} polygons lie beyond"
        yield Finding("mask-beyond", what, slide.name, "is it another slide's, or counted on another level?")


def _extent(low: F64, high: F64) -> str:
    (x0, y0), (x1, y1) = np.rint(low).astype(int), np.rint(high).astype(int)
    return f"x {x0} to {x1}, y {y0} to {y1}"


def everything(slide: Extent, ground: Raster, tissue: Bool, name: str) -> Iterator[Finding]:
    """A warning where a mask, ``tissue`` bool[h, w], marks all of the scanned part, of which much is glass."""
    scanned = _scanned(slide, ground)
    covered = (tissue & scanned).sum() / scanned.sum()
    stained = ground.stained & scanned
    if covered >= EVERYTHING and stained.sum() < ALL_TISSUE * scanned.sum():
        yield Finding(
            "mask-everything",
            f"{name} covers {covered:.0%} of the slide, of which {stained.sum() / scanned.sum():.0%} look stained",
            slide.name,
            "is it inverted?",
        )


def off_tissue(slide: Extent, ground: Raster, tissue: Bool, name: str) -> Iterator[Finding]:
    """A warning where little of what is marked, ``tissue`` bool[h, w], is tissue, most of which lies beside it."""
    stained = ground.stained & _scanned(slide, ground)
    on_tissue = (tissue & stained).sum() / max(tissue.sum(), 1)
    beside = (stained & ~tissue).sum() / max(stained.sum(), 1)
    if on_tissue < OFF_TISSUE and beside > 0.5:
        yield Finding(
            "mask-off-tissue",
            f"{on_tissue:.0%} of {name} lie on what looks like tissue, and {beside:.0%} of that lie beside it",
            slide.name,
            "is it inverted, or another slide's?",
        )


def _scanned(slide: Extent, ground: Raster) -> Bool:
    x, y, width, height = (value * ground.scale for value in slide.bounds_l0)
    scanned = np.zeros_like(ground.stained)
    scanned[int(y) : int(np.ceil(y + height)), int(x) : int(np.ceil(x + width))] = True
    return scanned
