"""A user's mask laid over a slide, in the plane that it is counted in, and what speaks against it."""

from __future__ import annotations

from itertools import chain

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture
from bleep_cli.tiles.outlines import everything, lay_outlines, off_tissue
from bleep_cli.tiles.plane import Fit, Taken, settle
from bleep_cli.tiles.tissue.ground import Ground
from bleep_cli.types import Bool, Slide


def lay_mask(slide: Slide, ground: Ground, given: GeoJson | Picture, origin: Plane) -> tuple[Bool, list[Finding]]:
    """The tissue of a user's mask on the raster of the ground, bool[h, w], and what is doubtful about it.

    Raises ``UsageError`` for a picture of other proportions, ``SlideError`` for outlines that miss the slide.
    """
    if isinstance(given, GeoJson):
        laid = lay_outlines(slide, ground, given, origin)
        tissue, findings = laid.tissue, laid.findings
    else:
        tissue, findings = _lay_picture(slide, ground, given, origin)
    if not tissue.any():
        raise SlideError(
            f"{slide.name}: the mask {given.name} marks less than a pixel of {ground.um_per_px:.3g} µm there"
        )
    told = (check(slide, ground, tissue, given.name) for check in (everything, off_tissue))
    return tissue, [*findings, *chain.from_iterable(told)]


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
