"""A user's mask laid over a slide, in the plane that it is counted in, and what speaks against it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.ground import Ground
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture
from bleep_cli.tiles.plane import Fit, Taken, corner_l0, settle, share_inside
from bleep_cli.types import F64, Bool, Slide

PLANES: tuple[Taken, ...] = ("level0", "bounds")
EVERYTHING = 0.95  # a mask over this much of the scanned part marks nothing in particular,
ALL_TISSUE = 0.9  # unless as much of it looks like tissue
OFF_TISSUE = 0.2  # of a mask on tissue, with most of the tissue beside it
BEYOND = 0.05  # of a mask's corners beyond the slide


def lay_mask(slide: Slide, ground: Ground, given: GeoJson | Picture, origin: Plane) -> tuple[Bool, list[Finding]]:
    """The tissue of a user's mask on the raster of the ground, bool[h, w], and what is doubtful about it.

    Raises ``UsageError`` for a picture of other proportions, ``SlideError`` for outlines that miss the slide.
    """
    if isinstance(given, GeoJson):
        tissue, findings = _lay_outlines(slide, ground, given, origin)
    else:
        tissue, findings = _lay_picture(slide, ground, given, origin)
    if not tissue.any():
        raise SlideError(
            f"{slide.name}: the mask {given.name} marks less than a pixel of {ground.um_per_px:.3g} µm there"
        )
    return tissue, [*findings, *_doubts(slide, ground, tissue, given.name)]


def _lay_outlines(slide: Slide, ground: Ground, given: GeoJson, origin: Plane) -> tuple[Bool, list[Finding]]:
    points = given.points
    cropped = slide.bounds_l0[:2] != (0, 0)
    laid: dict[Taken, Bool] = {
        plane: given.laid(ground.size, ground.scale, corner_l0(slide, plane)) for plane in PLANES[: 1 + cropped]
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
    _check_touches(slide, given, points + corner_l0(slide, plane))
    return laid[plane], [*findings, *_beyond(slide, given, corner_l0(slide, plane))]


def _check_touches(slide: Slide, given: GeoJson, points_l0: F64) -> None:
    low, high = points_l0.min(axis=0), points_l0.max(axis=0)
    if (high <= 0).any() or (low >= slide.size_l0).any():
        raise SlideError(
            f"{slide.name}: the mask {given.name} does not touch the slide: it reaches {_extent(low, high)}, "
            f"the slide {_extent(np.zeros(2), np.array(slide.size_l0))} (level-0 px)"
        )


def _beyond(slide: Slide, given: GeoJson, corner: tuple[float, float]) -> Iterator[Finding]:
    outlines = [area.rings[0] + corner for area in given.areas]
    lost = sum(bool((ring < 0).all(axis=0).any() or (ring > slide.size_l0).all(axis=0).any()) for ring in outlines)
    points = np.concatenate(outlines)
    beyond = ((points < 0) | (points > slide.size_l0)).any(axis=1).mean()
    if beyond > BEYOND or lost:
        what = f"{beyond:.0%} of the corners of {given.name} and {lost} of its {len(outlines)} polygons lie beyond"
        yield Finding("mask-beyond", what, slide.name, "is it another slide's, or counted on another level?")


def _lay_picture(slide: Slide, ground: Ground, given: Picture, origin: Plane) -> tuple[Bool, list[Finding]]:
    rectangles: dict[Taken, tuple[int, int, int, int]] = {"level0": (0, 0, *slide.size_l0)}
    if slide.bounds_l0 != rectangles["level0"]:
        rectangles["bounds"] = slide.bounds_l0
    if origin in rectangles and len(rectangles) == 2:
        rectangles = {plane: box for plane, box in rectangles.items() if plane == origin}
    fitting = {plane: box for plane, box in rectangles.items() if given.fits((box[2], box[3]))}
    if not fitting:
        width, height = given.size
        sizes = " or ".join(f"{w} × {h}" for _, _, w, h in rectangles.values())
        raise UsageError(
            f"{option('mask')}: {given.name} has {width} × {height} px, which are not the proportions of "
            f"{slide.name} ({sizes} px); a mask picture lies over the whole slide"
        )
    laid = {plane: given.laid(ground.size, ground.scale, box) for plane, box in fitting.items()}
    if len(laid) == 2:
        fits = {
            plane: Fit(1.0, float((ground.stained & tissue).sum() / max(tissue.sum(), 1)))
            for plane, tissue in laid.items()
        }
        plane, findings = settle(slide, given.name, fits, origin, "level0")
        return laid[plane], findings
    [(plane, tissue)] = laid.items()
    if plane == "level0" or origin != "auto":
        return tissue, []
    what = f"{given.name} has the proportions of the scanned part, not of the slide, and is laid over that part"
    return tissue, [Finding("plane-taken", what, slide.name)]


def _extent(low: F64, high: F64) -> str:
    (x0, y0), (x1, y1) = np.rint(low).astype(int), np.rint(high).astype(int)
    return f"x {x0} to {x1}, y {y0} to {y1}"


def _doubts(slide: Slide, ground: Ground, tissue: Bool, name: str) -> Iterator[Finding]:
    """What speaks against a user's mask."""
    x, y, width, height = (value * ground.scale for value in slide.bounds_l0)
    scanned = np.zeros_like(tissue)
    scanned[int(y) : int(np.ceil(y + height)), int(x) : int(np.ceil(x + width))] = True
    covered = (tissue & scanned).sum() / scanned.sum()
    stained = ground.stained & scanned
    if covered >= EVERYTHING and stained.sum() < ALL_TISSUE * scanned.sum():
        yield Finding(
            "mask-everything",
            f"{name} covers {covered:.0%} of the slide, of which {stained.sum() / scanned.sum():.0%} look stained",
            slide.name,
            "is it inverted?",
        )
    on_tissue = (tissue & stained).sum() / tissue.sum()
    beside = (stained & ~tissue).sum() / max(stained.sum(), 1)
    if on_tissue < OFF_TISSUE and beside > 0.5:
        yield Finding(
            "mask-off-tissue",
            f"{on_tissue:.0%} of {name} lie on what looks like tissue, and {beside:.0%} of that lie beside it",
            slide.name,
            "is it inverted, or another slide's?",
        )
