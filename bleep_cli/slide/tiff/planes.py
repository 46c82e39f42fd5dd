"""Red, green and blue as three grey planes: pages of their own, or samples that no tag names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.findings import Finding
from bleep_cli.slide.raster import COLOUR_NEEDED
from bleep_cli.slide.samples.pixels import PixelFormat
from bleep_cli.slide.tiff.ifd import TiffBytes
from bleep_cli.slide.tiff.ome import Channel
from bleep_cli.slide.tiff.page import Page

NAMES = ({"r", "red"}, {"g", "green"}, {"b", "blue"})
RGBA = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
UNNAMED = re.compile(r"(channel|ch|c|plane|image|page|slice)?[\s:_#-]*[\d:/\s]*", re.IGNORECASE)
"""Names that say no more than a number."""
JOIN = (
    "if they are the colours of a stained section, join them first: "
    'vips bandjoin "red.tif green.tif blue.tif" OUT.tif'
)
BRIGHT_GROUND, SAME_SHAPE, COLOURED = 80, 0.5, 2.0
"""Of planes that are RGB of H&E: their median pixel of 255, how they correlate, how far they are apart."""


def named_order(channels: Sequence[Channel]) -> tuple[int, int, int] | None:
    """Which of three channels are red, green and blue by name or by stated colour; None where nothing says so."""
    names = [channel.name.strip().lower() for channel in channels]
    by_name = [[i for i, name in enumerate(names) if name in known] for known in NAMES]
    colours = [_rgb(channel.colour) for channel in channels]
    by_colour = [[i for i, colour in enumerate(colours) if colour == pure] for pure in RGBA]
    unnamed = all(UNNAMED.fullmatch(name) for name in names)
    for found in (by_name, by_colour if unnamed else []):
        if len(found) == 3 and all(len(places) == 1 for places in found):
            return found[0][0], found[1][0], found[2][0]
    return None


def _rgb(colour: int | None) -> tuple[int, int, int] | None:
    if colour is None:
        return None
    return colour >> 24 & 255, colour >> 16 & 255, colour >> 8 & 255


def check_names(file: TiffBytes, channels: Sequence[Channel]) -> None:
    """SlideError where the channels have names of their own that are not red, green and blue."""
    names = [channel.name.strip() for channel in channels]
    if named_order(channels) is None and not all(UNNAMED.fullmatch(name) for name in names):
        listed = ", ".join(name or "(unnamed)" for name in names)
        raise file.bad(f"its planes are {listed}, not red, green and blue; {COLOUR_NEEDED}, not fluorescence")


def merged(file: TiffBytes, pages: Sequence[Page]) -> Page:
    """Three grey pages, in the order red, green, blue, as one of three planes. SlideError where they differ."""
    first = pages[0]
    grey = all(page.samples == 1 and page.fmt.model == "grey" for page in pages)
    same = all(_described(page) == _described(first) for page in pages)
    if not (grey and same) or any((page.counts > 0).tolist() != (first.counts > 0).tolist() for page in pages):
        raise file.bad(f"holds several full-size pages that are stored unlike each other; {JOIN}")
    return replace(
        first,
        samples=3,
        planes=3,
        fmt=PixelFormat("rgb"),
        doubt="planes",
        offsets=np.concatenate([page.offsets for page in pages]),
        counts=np.concatenate([page.counts for page in pages]),
    )


def _described(page: Page) -> tuple[Any, ...]:
    """How a page is stored, but for its places in the file."""
    return (
        *(page.width, page.height, page.tile_w, page.tile_h, page.tiled, page.samples, page.planes, page.dtype),
        *(page.photometric, page.compression, page.predictor, page.orientation),
        *(page.tables, len(page.offsets)),
    )


def colours_of(
    file: TiffBytes, channels: Sequence[Channel], seen: NDArray[Any], white: int
) -> tuple[Finding, ...]:
    """What is to be said of three planes ``seen`` [n, 3] in some places. SlideError where they are not RGB.

    ``channels`` are what the file calls them, if it does. Without names they have to look like the colours of
    H&E in that order: a bright ground, one shape in all three, and least light in green.
    """
    if len(channels) == 3 and named_order(channels) is not None:
        return (Finding("planes-named", "its planes are read as red, green and blue, as the file names them"),)
    levels = seen.astype(np.float64) * (255 / white)
    why = _why_not_stained(levels)
    if why:
        raise file.bad(
            f"its three grey planes are not named, and {why}: not red, green and blue of H&E; "
            f"{COLOUR_NEEDED}; {JOIN}"
        )
    what = "its three planes are not named; they are read as red, green and blue, as which they look"
    return (Finding("planes-guessed", what, mend="look at the picture of the result"),)


def _why_not_stained(levels: NDArray[np.float64]) -> str:
    """Why ``levels`` f64[n, 3] of 255 are not the colours of H&E; empty where they may be."""
    if np.median(levels.mean(axis=1)) < BRIGHT_GROUND:
        return "they are dark, as fluorescence is"
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = np.corrcoef(levels.T)
    if not (np.nan_to_num(alike) > SAME_SHAPE).all():
        return "they show different things"
    red, green, blue = levels.mean(axis=0)
    if np.ptp(levels, axis=1).mean() < COLOURED:
        return "they are all alike, as focus planes are"
    return "" if green < min(red, blue) else "the second is not the darkest"
