"""Made-up slides with known tissue, and the files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.mask import Mask, find_tissue
from bleep_cli.types import U8

Bools = NDArray[np.bool_]
MPP = 8.0  # one pixel of these pictures is one of the mask
W, H = 240, 140
GLASS, PINK, PURPLE = (242, 240, 243), (222, 150, 190), (120, 80, 160)


def disc(x: float, y: float, r: float, w: int = W, h: int = H) -> Bools:
    rows, cols = np.mgrid[:h, :w] + 0.5
    return np.asarray((cols - x) ** 2 + (rows - y) ** 2 < r**2)


def stain(tissue: Bools, ground: tuple[int, int, int] = GLASS, noise: float = 4, seed: int = 0) -> U8:
    """H&E on a ground: pink stroma, a quarter of it purple nuclei, and camera noise."""
    rng = np.random.default_rng(seed)
    nuclei = rng.random(tissue.shape) < 0.25
    rgb = np.where(nuclei[..., None], PURPLE, PINK)
    rgb = np.where(tissue[..., None], rgb, ground)
    return (rgb + rng.normal(0, noise, rgb.shape)).clip(0, 255).astype(np.uint8)


def find(folder: Path, rgb: U8, mpp: float = MPP, mask: Path | None = None, **chosen: Any) -> Mask:
    path = folder / "slide.png"
    Image.fromarray(rgb).save(path)
    return find_on(path, mpp, mask, **chosen)


def find_on(path: Path, mpp: float | None = None, mask: Path | None = None, **chosen: Any) -> Mask:
    slide = open_slide(path, mpp)
    try:
        return find_tissue(slide, mask, **chosen)
    finally:
        slide.close()


def write_scn(path: Path, image: U8, size: tuple[int, int], corner: tuple[int, int], mpp: float = 0.5) -> Path:
    """A Leica SCN of ``size`` whose scanned part is the image, its top left at ``corner``; the rest is white."""
    height, width = image.shape[:2]
    macro = np.full((size[1] // 16, size[0] // 16, 3), 240, np.uint8)

    def part(name: str, shape: tuple[int, int], at: tuple[int, int], levels: list[U8], first: int) -> str:
        lines = [
            f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{i}" ifd="{first + i}"/>'
            for i, level in enumerate(levels)
        ]
        return (
            f'<image name="{name}"><pixels sizeX="{levels[0].shape[1]}" sizeY="{levels[0].shape[0]}">'
            f"{''.join(lines)}"
            f'</pixels><view sizeX="{nm(shape[0])}" sizeY="{nm(shape[1])}" '
            f'offsetX="{nm(at[0])}" offsetY="{nm(at[1])}"/>'
            "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    def nm(px: int) -> int:
        return round(px * mpp * 1000)

    levels = [image, image[::4, ::4]]
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" barcode="" sizeX="{nm(size[0])}" sizeY="{nm(size[1])}">'
        f"{part('macro', size, (0, 0), [macro], 0)}{part('main', (width, height), corner, levels, 1)}"
        "</collection></scn>"
    )
    options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "metadata": None}
    options |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        out.write(macro, description=text, **options)
        for level in levels:
            out.write(level, **options)
    return path


def overlap(found: Bools, truth: Bools) -> float:
    """Intersection over union."""
    return float((found & truth).sum() / (found | truth).sum())
