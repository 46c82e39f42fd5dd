"""What the slide reader's tests share: test data, made-up pictures and the files they are written to."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from bleep_cli.slide.open import open_slide
from bleep_cli.types import U8

ROOT = Path(__file__).parents[1]
W, H = 301, 203


def data_path(*parts: str) -> Path:
    """A file of the shared test data; the test is skipped, visibly, where there is none."""
    path = Path(os.environ.get("BLEEP_TEST_DATA", ROOT / "../shared/data"), *parts)
    if not path.exists():
        pytest.skip(f"no test data at {'/'.join(parts)} (BLEEP_TEST_DATA)")
    return path


def ramp(w: int = W, h: int = H, step: int = 1) -> U8:
    """Red grows with x, green with y, linearly in level-0 px: any even filter keeps a centre's value."""
    x = (np.arange(w) + 0.5) * step * 0.8
    y = (np.arange(h) + 0.5) * step * 1.2
    return np.stack(np.broadcast_arrays(x, y[:, None], 40.0), axis=2).round().astype(np.uint8)


def noise(w: int, h: int, seed: int = 0) -> U8:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), np.uint8)


def write_tiff(path: Path, image: Any, **options: Any) -> Path:
    tifffile.imwrite(path, image, **{"photometric": "rgb", "metadata": None} | options)
    return path


def write_pyramid(path: Path, subifds: bool, steps: tuple[int, ...] = (1, 2, 4), **options: Any) -> Path:
    common: dict[str, Any] = {"photometric": "rgb", "tile": (64, 64), "metadata": None} | options
    with tifffile.TiffWriter(path) as out:
        for step in steps:
            nested = {"subifds": len(steps) - 1} if subifds and step == 1 else {}
            out.write(ramp(W // step, H // step, step), subfiletype=int(step > 1), **common, **nested)
    return path


def whole(path: Path) -> U8:
    with closing(open_slide(path, mpp=0.5)) as slide:
        size = slide.size_l0
        return slide.read((0, 0), size, size)
