"""The tissue mask of a slide: found by colour, or a user's, laid in the plane that it is counted in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.ground import Ground, survey
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.tiles.plane import Fit, Taken, corner_l0, settle, share_inside
from bleep_cli.tiles.tissue import clean
from bleep_cli.types import I64, Bool, Slide

PLANES: tuple[Taken, ...] = ("level0", "bounds")
EVERYTHING = 0.95  # a mask over this much of the scanned part marks nothing in particular,
ALL_TISSUE = 0.9  # unless as much of it looks like tissue
OFF_TISSUE = 0.2  # of a mask on tissue, with most of the tissue beside it
BEYOND = 0.05  # of a mask's corners beyond the slide


@dataclass(frozen=True)
class Mask:
    """Where on a slide tissue is, on a raster over the whole of it."""

    tissue: Bool
    """bool[h, w]"""
    pieces: I64
    """i64[h, w] number of the connected piece, 1, 2, ... by falling area; 0 outside."""
    ground: Ground
    """What the slide shows on the same raster."""
    given: bool = False
    """Whether it is a user's."""
    findings: tuple[Finding, ...] = ()
    """How it was found or read."""


def find_tissue(
    slide: Slide, mask_file: Path | None = None, *, origin: Plane = "auto", classes: Sequence[str] = ()
) -> Mask:
    """The slide's tissue by its colour, or from ``mask_file``, of which ``origin`` and ``classes`` tell.

    Raises ``UsageError`` for a mask file that cannot be read or has other proportions than the slide,
    ``SlideError`` for a slide that cannot be read, shows no tissue, or is not touched by the mask.
    """
    if mask_file is None:
        return _by_colour(slide, survey(slide))
    given = read_mask_file(mask_file, classes)
    ground = survey(slide)
    if isinstance(given, GeoJson):
        tissue, findings = _lay_outlines(slide, ground, given, origin)
    else:
        tissue, findings = _lay_picture(slide, ground, given, origin)
    findings += tuple(_doubts(slide, ground, tissue, given.name))
    told = tuple(Finding(f.code, f.what, slide.name, f.mend) for f in given.findings)
    return Mask(tissue, label_pieces(tissue), ground, True, told + findings)


def _by_colour(slide: Slide, ground: Ground) -> Mask:
    tissue = clean(ground.stained, ground.um_per_px, ground.ink.where)
    if not tissue.any():
        raise SlideError(
            f"{slide.name}: no tissue found; outline it with {option('mask')}, "
            f"or name the places with {option('at')}"
        )
    inked = clean(ground.stained | ground.ink.where, ground.um_per_px) & ground.ink.where
    findings: tuple[Finding, ...] = ()
    if inked.any():
        share = inked.sum() / (inked | tissue).sum()
        colours = " and ".join(ground.ink.colours)
        what = f"pen ink ({colours}) covers {share:.1%} of what would be tissue and is left out"
        mend = f"outline the tissue with {option('mask')} to keep it"
        findings = (Finding("ink-left-out", what, slide.name, mend),)
    return Mask(tissue, label_pieces(tissue), ground, findings=findings)


def _lay_outlines(slide: Slide, ground: Ground, given: GeoJson, origin: Plane) -> tuple[Bool, tuple[Finding, ...]]:
    points = given.points
    cropped = slide.bounds_l0[:2] != (0, 0)
    laid: dict[Taken, Bool] = {
        plane: given.laid(ground.size, ground.scale, corner_l0(slide, plane)) for plane in PLANES[: 1 + cropped]
    }
    plane: Taken = "level0"
    findings: tuple[Finding, ...] = ()
    if cropped:
        inside = {plane: share_inside(points, slide, plane) for plane in PLANES}
        plane, findings = settle(slide, given.name, _fits(ground, laid, inside), origin, "bounds")
    corner = corner_l0(slide, plane)
    places = points + corner
    if not laid[plane].any():
        low, high = places.min(axis=0), places.max(axis=0)
        if (high < 0).any() or (low > slide.size_l0).any():
            raise SlideError(
                f"{slide.name}: the mask {given.name} does not touch the slide: it reaches {_extent(low, high)}, "
                f"the slide {_extent(np.zeros(2), np.array(slide.size_l0))} (level-0 px)"
            )
        raise SlideError(
            f"{slide.name}: the mask {given.name} marks less than a pixel of {ground.um_per_px:.3g} µm; "
            f"it reaches {_extent(low, high)} (level-0 px)"
        )
    beyond = ((places < 0) | (places > slide.size_l0)).any(axis=1).mean()
    outlines = [area.rings[0] + corner for area in given.areas]
    lost = sum(bool((ring < 0).all(axis=0).any() or (ring > slide.size_l0).all(axis=0).any()) for ring in outlines)
    if beyond > BEYOND or lost:
        what = f"{beyond:.0%} of the corners of {given.name} and {lost} of its {len(outlines)} polygons lie "
        what += "beyond the slide"
        findings += (
            Finding("mask-beyond", what, slide.name, "is it another slide's, or counted on another level?"),
        )
    return laid[plane], findings


def _lay_picture(slide: Slide, ground: Ground, given: Picture, origin: Plane) -> tuple[Bool, tuple[Finding, ...]]:
    rectangles: dict[Taken, tuple[int, int, int, int]] = {"level0": (0, 0, *slide.size_l0)}
    if slide.bounds_l0 != rectangles["level0"]:
        rectangles["bounds"] = slide.bounds_l0
    fitting = {plane: box for plane, box in rectangles.items() if given.fits((box[2], box[3]))}
    asked = (
        fitting
        if origin == "auto"
        else {p: box for p, box in fitting.items() if p == origin or len(rectangles) == 1}
    )
    if not asked:
        width, height = given.size
        sizes = " or ".join(f"{w} × {h}" for _, _, w, h in rectangles.values())
        raise UsageError(
            f"{option('mask')}: {given.name} has {width} × {height} px, which are not the proportions of "
            f"{slide.name} ({sizes} px); a mask picture lies over the whole slide"
        )
    laid = {plane: given.laid(ground.size, ground.scale, box) for plane, box in asked.items()}
    if len(laid) == 2:
        fits = _fits(ground, laid, dict.fromkeys(PLANES, 1.0))
        plane, findings = settle(slide, given.name, fits, origin, "level0")
        return laid[plane], findings
    [(plane, tissue)] = laid.items()
    if plane == "level0" or origin != "auto":
        return tissue, ()
    what = f"{given.name} has the proportions of the scanned part, not of the slide, and is laid over that part"
    return tissue, (Finding("plane-taken", what, slide.name),)


def _fits(ground: Ground, laid: dict[Taken, Bool], inside: dict[Taken, float]) -> dict[Taken, Fit]:
    largest = max(1, *(int(tissue.sum()) for tissue in laid.values()))
    return {
        plane: Fit(inside[plane], float((tissue & ground.stained).sum() / largest))
        for plane, tissue in laid.items()
    }


def _extent(low: np.ndarray, high: np.ndarray) -> str:
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


def label_pieces(tissue: Bool) -> I64:
    """Connected pieces, numbered by falling area (equal areas from the top left)."""
    from scipy import ndimage

    labels, count = ndimage.label(tissue, structure=np.ones((3, 3), int))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, np.int64)
    rank[1 + np.argsort(-area, kind="stable")] = np.arange(1, count + 1)
    return np.asarray(rank[labels], np.int64)
