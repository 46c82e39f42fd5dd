"""How much of a pen stroke is told from tissue, on strokes drawn over the demo slide.

    python benchmarks/ink.py [SLIDE ...] [--mpp 0.5]

Each stroke is a line across tissue and glass, of each width, in three ways: opaque; as light passes both (the
transmittances multiplied); and mixed, a quarter of what is below. Printed is the least and the largest share of
its pixels that are found, over the widths. SLIDES are real ones without ink: the share of their tissue that would
be taken for it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bleep_cli.api import open_slide
from bleep_cli.base.assets import DEMO_SLIDE, asset
from bleep_cli.slide.open import read_overview
from bleep_cli.tiles.tissue.find import clean
from bleep_cli.tiles.tissue.ground import MASK_MPP, survey
from bleep_cli.tiles.tissue.ink import WHITE, find_ink
from bleep_cli.types import F64, U8, Bool

STROKES = {
    "blue": (30, 60, 180),
    "dark navy": (20, 30, 90),
    "dark blue": (0, 0, 139),
    "clear blue": (60, 180, 220),
    "green": (20, 130, 60),
    "clear green": (30, 160, 90),
    "red": (200, 30, 30),
    "bright red": (255, 0, 0),
    "black": (15, 15, 20),
    "grey": (60, 60, 62),
    "violet": (110, 40, 140),
}
WIDTHS_UM = (25.0, 40.0, 60.0)


def ways(ink: tuple[int, int, int], below: U8) -> dict[str, F64]:
    """The colours of a stroke over u8[n, 3] pixels, by how it lies on them."""
    colour = np.array(ink, float)
    return {
        "opaque": np.broadcast_to(colour, below.shape),
        "multiplied": colour * below / WHITE,
        "a quarter of tissue": 0.75 * colour + 0.25 * below,
    }


def stroke(size: tuple[int, int], width_px: float) -> Bool:
    """bool[h, w]: a bent line across a picture of (w, h) pixels."""
    picture, (w, h) = Image.new("1", size), size
    points = [(0, 0.3 * h), (0.35 * w, 0.45 * h), (0.7 * w, 0.35 * h), (w, 0.7 * h)]
    ImageDraw.Draw(picture).line(points, fill=1, width=max(1, round(width_px)))
    return np.asarray(picture)


def found(image: U8, um_per_px: float) -> dict[str, dict[str, list[float]]]:
    """Shares of the strokes' pixels that are found, by colour and way, a width each."""
    out: dict[str, dict[str, list[float]]] = {}
    for name, ink in STROKES.items():
        for width in WIDTHS_UM:
            where = stroke(image.shape[1::-1], width / um_per_px)
            for way, colours in ways(ink, image[where]).items():
                drawn = image.copy()
                drawn[where] = colours.round().clip(0, 255)
                share = float(find_ink(drawn, um_per_px).where[where].mean())
                out.setdefault(name, {}).setdefault(way, []).append(share)
    return out


def lost(path: Path, mpp: float | None) -> float:
    """Share of a slide's tissue that is taken for ink."""
    slide = open_slide(path, mpp)
    try:
        ground = survey(slide)
    finally:
        slide.close()
    tissue = clean(ground.stained | ground.ink.where, ground.um_per_px)
    return float(ground.ink.where[tissue].mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", type=Path)
    parser.add_argument("--mpp", type=float, help="of slides that state none")
    given = parser.parse_args()
    slide = open_slide(asset(DEMO_SLIDE))
    image, um_per_px = read_overview(slide, MASK_MPP)
    slide.close()
    shares = found(image, um_per_px)
    print("| stroke | " + " | ".join(next(iter(shares.values()))) + " |\n|---|" + "---|" * 3)
    for name, by_way in shares.items():
        cells = (f"{min(values):.0%} to {max(values):.0%}" for values in by_way.values())
        print(f"| {name} | " + " | ".join(cells) + " |")
    for path in given.slides:
        print(f"{path.name}: {lost(path, given.mpp):.3%} of the tissue is taken for ink")


if __name__ == "__main__":
    main()
