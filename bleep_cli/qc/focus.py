"""Is a slide in focus? By how much of its tissue's detail is fine, read at 1 µm per pixel.

Of the pixels' luminance the variance of fine detail (waves around 6.5 µm) is taken over that of coarse detail
(around 13 µm), both as differences of Gaussians: tissue in focus has about as much of either, whatever
its stain and contrast, and blur takes the fine one away first. The measure is absolute: a reference keeps no
statistics of its own focus. docs/qc.md says what its bound was chosen on.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.qc.check import Check
from bleep_cli.types import F64, U8, Slide

MPP = 1.0  # µm per pixel that it is measured at
COARSEST = 1.5  # µm per pixel of a slide, above which the finer detail is not there to be measured
EDGE_PX, RIM_PX = 144, 8
SIGMAS_PX = (1.0, 2.0, 4.0)
SOFT = 0.35  # sharp slides are above, those under a Gaussian of 2 µm below
MOST_SOFT = 0.25  # of the tiles
LEAST_DETAIL = 1.0  # variance in grey levels of the coarser detail, below which a square shows nothing


def focus_check(slide: Slide, centres_l0: F64, *, known: bool = True) -> Check:
    """The focus of a slide by squares around tiles, f64[n, 2] (x, y), where its scale is known. SlideError."""
    if not known:
        return Check("focus", "not judged: the scale is doubtful", judged=False)
    if slide.mpp > COARSEST:
        return Check("focus", f"not judged: {slide.mpp:.3g} µm/px are too coarse to tell", judged=False)
    found = np.array([sharpness(tile) for tile in _squares(slide, centres_l0)])
    found = found[np.isfinite(found)]
    if not len(found):
        return Check("focus", "not judged: its tiles show no detail", judged=False)
    middle, soft = float(np.median(found)), float((found < SOFT).mean())
    values = {"sharpness": round(middle, 3), "soft_below": SOFT, "soft_tiles": round(soft, 3), "tiles": len(found)}
    told = (
        f"sharpness {middle:.2f}, {soft:.0%} of {len(found)} tiles below {SOFT:g} (absolute, not by the reference)"
    )
    if soft <= MOST_SOFT:
        return Check("focus", f"sharp: {told}", values)
    what = f"out of focus: {soft:.0%} of {len(found)} tiles are below a sharpness of {SOFT:g}"
    mend = "scan it again, or see that it is no enlarged or strongly compressed copy"
    return Check("focus", f"soft: {told}", values, (Finding("focus-soft", what, slide.name, mend),))


def sharpness(rgb: U8) -> float:
    """Fine over coarse detail of u8[h, w, 3] at ``MPP``; NaN where there is none of either."""
    from scipy import ndimage

    grey = rgb.mean(axis=2, dtype=np.float32)
    blurred = [ndimage.gaussian_filter(grey, sigma)[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] for sigma in SIGMAS_PX]
    fine, coarse = (float(((a - b) ** 2).mean()) for a, b in pairwise(blurred))
    return fine / coarse if coarse >= LEAST_DETAIL else float("nan")


def _squares(slide: Slide, centres_l0: F64) -> list[U8]:
    edge = EDGE_PX * MPP / slide.mpp
    return [slide.read((x, y), (edge, edge), (EDGE_PX, EDGE_PX)) for x, y in centres_l0 - edge / 2]
