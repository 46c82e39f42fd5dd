"""Whether folds can be told from dense tissue by long dark ridges (docs/qc.md).

    python benchmarks/folds.py SLIDE[@MPP] ... [--json FILE]

At 8 µm per pixel and smoothed by 12 µm, tissue whose optical density is 1.7 times the slide's median or more is
dark; told is the length of the longest dark piece that is three times as long as wide. Then a fold of 1,000 ×
80 µm is laid at five random places: there the density of tissue nearby is added, as where a section lies double.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage
from side_by_side import report

from bleep_cli.slide.open import open_slide, read_overview
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.types import F32, Bool

MPP, SMOOTH_UM, DARK = 8.0, 12.0, 1.7
INNER_UM, LEAST_UM2, LONG = 24.0, 5000.0, 3.0
FOLD_UM, BESIDE_UM, FOLDS = (1000.0, 80.0), (150.0, 200.0), 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report([row(slide) for slide in given.slides], given.json)


def row(named: str) -> dict[str, Any]:
    path, _, mpp = named.partition("@")
    slide = open_slide(path, float(mpp) if mpp else None)
    picture, um = read_overview(slide, max(MPP, slide.mpp))
    small = Image.fromarray(find_tissue(slide).tissue.astype(np.uint8) * 255)
    tissue = np.asarray(small.resize(picture.shape[1::-1], Image.Resampling.NEAREST)) > 0
    density = -np.log((picture.astype(np.float32) + 1) / 256).mean(axis=2)
    folded = [longest(density + fold(density, tissue, um, seed), tissue, um) for seed in range(FOLDS)]
    told = {"slide": Path(path).name, "as it is (µm)": round(longest(density, tissue, um))}
    return told | {"folded (µm)": ", ".join(f"{length:.0f}" for length in folded)}


def longest(density: F32, tissue: Bool, um: float) -> float:
    """Length in µm of the longest dark ridge; 0 where there is none."""
    sigma = SMOOTH_UM / um
    share = ndimage.gaussian_filter(tissue.astype(np.float32), sigma)
    smooth = ndimage.gaussian_filter(np.where(tissue, density, 0), sigma) / np.maximum(share, 0.3)
    inner = ndimage.binary_erosion(tissue, iterations=max(1, int(INNER_UM / um)))
    pieces, _ = ndimage.label(inner & (smooth > DARK * np.median(smooth[inner])))
    best = 0.0
    for number, part in enumerate(ndimage.find_objects(pieces), 1):
        places = np.argwhere(pieces[part] == number)
        if len(places) * um**2 < LEAST_UM2:
            continue
        wide, long = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(places.T)), 0))
        if long > LONG * max(wide, 0.5):
            best = max(best, 4 * float(long) * um)
    return best


def fold(density: F32, tissue: Bool, um: float, seed: int) -> F32:
    """What a fold across a random place in the tissue adds."""
    rng = np.random.default_rng(seed)
    places = np.argwhere(tissue)
    y, x = places[rng.integers(len(places))]
    angle = rng.uniform(0, np.pi)
    down, across = (axis * um for axis in np.mgrid[: density.shape[0], : density.shape[1]])
    down, across = down - y * um, across - x * um
    along = across * np.cos(angle) + down * np.sin(angle)
    aside = down * np.cos(angle) - across * np.sin(angle)
    band = (np.abs(along) < FOLD_UM[0] / 2) & (np.abs(aside) < FOLD_UM[1] / 2) & tissue
    nearby = np.roll(density, (int(BESIDE_UM[1] / um), int(BESIDE_UM[0] / um)), (0, 1))
    middle = np.median(density[tissue])
    return np.asarray(band * np.where(nearby > 0.3 * middle, nearby, middle), np.float32)


if __name__ == "__main__":
    main()
