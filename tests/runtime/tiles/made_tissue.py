"""Made-up slides with known tissue, and the files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
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


def overlap(found: Bools, truth: Bools) -> float:
    """Intersection over union."""
    return float((found & truth).sum() / (found | truth).sum())
