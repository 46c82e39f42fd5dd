"""What the sharpness of ``bleep qc`` is on slides as they are, and blurred by Gaussians of so many µm.

    python benchmarks/focus.py SLIDE[@MPP] ... [--tiles 60]

A line for each slide: the median over its tiles for each blur, and how many of 100 tiles lie below the bound.
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from bleep_cli.api import open_slide
from bleep_cli.qc.focus import EDGE_PX, MPP, SOFT, sharpness
from bleep_cli.qc.slide import SPEC
from bleep_cli.signatures.tiles import spread
from bleep_cli.tiles.grid import grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.types import F64, U8, Slide

BLURS_UM = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
MARGIN = 1.25  # read around a square, so that its rim is blurred like the rest


def blurred(slide: Slide, centre_l0: F64, blur_um: float) -> U8:
    """u8[EDGE_PX, EDGE_PX, 3] around a place, blurred at the slide's own resolution."""
    from scipy import ndimage

    wide = round(EDGE_PX * MARGIN)
    edge = round(wide * MPP / slide.mpp)
    x, y = centre_l0 - edge / 2
    pixels = slide.read((x, y), (edge, edge), (edge, edge)).astype(np.float32)
    sigma = blur_um / slide.mpp
    soft = ndimage.gaussian_filter(pixels, (sigma, sigma, 0)) if blur_um else pixels
    image = Image.fromarray(soft.clip(0, 255).astype(np.uint8)).resize((wide, wide), Image.Resampling.BOX)
    rim = (wide - EDGE_PX) // 2
    return np.asarray(image)[rim : rim + EDGE_PX, rim : rim + EDGE_PX]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--tiles", type=int, default=60)
    asked = parser.parse_args()
    print("| slide | µm/px | " + " | ".join(f"{blur:g} µm" for blur in BLURS_UM) + " |")
    print("|---|---|" + "---|" * len(BLURS_UM))
    for given in asked.slides:
        path, _, mpp = given.partition("@")
        slide = open_slide(path, float(mpp) if mpp else None)
        centres = grid_over_tissue(slide, find_tissue(slide), SPEC, SPEC.um[0], 0.5).grid.centre_l0
        chosen = centres[spread(centres, asked.tiles)]
        row = [np.array([sharpness(blurred(slide, xy, blur)) for xy in chosen]) for blur in BLURS_UM]
        told = " | ".join(f"{np.nanmedian(found):.2f} ({np.mean(found < SOFT):.0%})" for found in row)
        print(f"| {slide.name} | {slide.mpp:.3g} | {told} |", flush=True)
        slide.close()


if __name__ == "__main__":
    main()
