"""A look at some places of a slide: whether there is a coloured picture on a bright ground at all."""

from __future__ import annotations

import numpy as np

from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.slide.raster import Raster
from bleep_cli.types import U8

SMALL_PX = 1 << 20  # a level of no more pixels is looked at as a whole
PLACES, MORE_PLACES = 3, 16  # on each axis of a larger one; more where all seems black
PLACE_PX = 64
BLACK, DARK, DARK_GROUND = 16, 96, 32  # of 255
GREY_SHARE, GREY_APART = 0.999, 3  # of the pixels no two colours are further apart
WHITE_ENOUGH = 99.5  # percent


def look(raster: Raster) -> tuple[Finding, ...]:
    """What is to be said of its colours; "slide-black" where all of it is black.

    Places that cannot be read are passed over.
    """
    seen = _seen(raster, PLACES)
    if not len(seen):
        return ()
    if _bright(seen) < BLACK:
        seen = _seen(raster, MORE_PLACES)
    found = []
    bright, ground = _bright(seen), float(np.median(seen.max(axis=1)))
    if bright < BLACK:
        return (Finding("slide-black", f"nothing in it is brighter than {bright:.0f} of 255"),)
    if bright < DARK or ground < DARK_GROUND:
        what = f"most of it is dark: half of its pixels are below {ground:.0f} of 255, the brightest {bright:.0f}"
        mend = "tissue stained with H&E lies on a bright ground; fluorescence cannot be predicted from"
        found.append(Finding("slide-dark", what, mend=mend))
    apart = np.ptp(seen.astype(np.int16), axis=1)
    if (apart <= GREY_APART).mean() >= GREY_SHARE and np.ptp(seen) > GREY_APART:
        mend = "use the colour picture of the slide"
        found.append(Finding("slide-grey", "it is grey: the colours of H&E are missing", mend=mend))
    return tuple(found)


def _bright(seen: U8) -> float:
    return float(np.percentile(seen.max(axis=1), WHITE_ENOUGH))


def _seen(raster: Raster, places: int) -> U8:
    """Some pixels of the scanned part, u8[n, 3], of the coarsest level: all of a small one."""
    index = len(raster.levels) - 1
    level = raster.levels[index]
    x0, y0, w, h = (round(v / s) for v, s in zip(raster.bounds_l0, (*level.scale, *level.scale), strict=True))
    x0, y0 = min(x0, level.width - 1), min(y0, level.height - 1)
    w, h = max(1, min(w, level.width - x0)), max(1, min(h, level.height - y0))
    boxes = [(x0, y0, w, h)]
    if w * h > SMALL_PX:
        bw, bh = min(PLACE_PX, w), min(PLACE_PX, h)
        at = (np.arange(places) + 0.5) / places
        boxes = [(x0 + int(fx * (w - bw)), y0 + int(fy * (h - bh)), bw, bh) for fy in at for fx in at]
    seen = []
    for box in boxes:
        try:
            seen.append(raster.block(index, *box).reshape(-1, 3))
        except SlideError:
            continue  # whoever reads there is told
    return np.concatenate(seen) if seen else np.empty((0, 3), np.uint8)
