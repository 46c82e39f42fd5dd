"""Tiles as a signature sees them: of one physical size, at a resolution that wrong scales do not run out of."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.base.hashing import file_sha256
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.towers.levels import LEVEL_DIMS, width_scale
from bleep_cli.types import F32, F64, I64, U8, Slide

SCALES = (0.5, 0.7, 1.0, 1.4, 2.0)
"""What a stated mpp is multiplied by."""
PX = 112
"""Edge of a tile in pixels."""


def signature_mpp(mpp: float, tile_um: float) -> float:
    """µm per pixel of a signature's tiles: twice as coarse as the images are, or as the reference's tiles need.

    At half and at twice its scale an image is then still as fine as the tile, so that a wrong scale is told by the
    tissue and not by blur. ``mpp`` is of the images, ``tile_um`` the reference's smallest field of view.
    """
    return 2 * max(mpp, tile_um / (2 * PX))


@dataclass(frozen=True)
class TileShape:
    """A tile's pixels."""

    px: int
    """Edge in pixels."""
    mpp: float
    """µm per pixel."""


def evenly(n: int, count: int) -> I64:
    """``count`` of 0..n-1 (all, where there are fewer) at even distances: i64[m], ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(np.int64))


def spread(xy: F64, count: int) -> I64:
    """``count`` rows (all, where there are fewer) of f64[n, 2] (x, y), evenly from top to bottom: i64[m]."""
    order = np.lexsort((xy[:, 0], xy[:, 1]))
    return np.asarray(order[evenly(len(order), count)], np.int64)


def read_tiles(slide: Slide, centres_l0: F64, shape: TileShape, scale: float = 1.0) -> U8:
    """u8[n, px, px, 3] tiles around f64[n, 2] (x, y), as if the slide's mpp were ``scale`` times the stated one.

    Raises ``SlideError``.
    """
    edge = shape.px * shape.mpp / (slide.mpp * scale)
    return np.stack([slide.read((x, y), (edge, edge), (shape.px, shape.px)) for x, y in centres_l0 - edge / 2])


def backbone_sha256() -> str:
    """Of the shipped backbone. ``UsageError`` where this installation lacks it."""
    return file_sha256(asset(BACKBONE))


@cache
def shipped_features() -> Features:
    """The one of this process: a batch loads the network once. ``UsageError`` where this installation lacks it."""
    return Features()


class Features:
    """The shipped backbone's features of tiles. ``UsageError`` where this installation lacks it."""

    def __init__(self) -> None:
        self._encoder = OnnxEncoder(asset(BACKBONE).read_bytes(), "cpu")

    def of(self, tiles: U8) -> F32:
        """u8[n, PX, PX, 3] → f32[n, d]: its levels pooled, each scaled by 1/√width."""
        from PIL import Image

        size = (self._encoder.tile_px, self._encoder.tile_px)
        large = [np.asarray(Image.fromarray(tile).resize(size, Image.Resampling.BILINEAR)) for tile in tiles]
        return np.asarray(self._encoder.embed(np.stack(large)) * width_scale(LEVEL_DIMS), np.float32)
