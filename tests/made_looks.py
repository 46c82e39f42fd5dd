"""Towers that tell what tiles look like, made of those that do not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.graphs import image_tower
from bleep_cli.fitting.looks import LooksHead

FEATURES = 4


def looks_head(dim: int) -> LooksHead:
    """To four numbers of the features f32[n, dim] and six of the stain; from a fixed seed."""
    rng = np.random.default_rng(11)

    def head(given: int, told: int) -> LinearHead:
        mean, weights = rng.normal(size=given), rng.normal(size=(given, told))
        return LinearHead(mean.astype(np.float32), weights.astype(np.float32))

    return LooksHead(head(dim, FEATURES), head(STAIN, STAIN))


def looking(encoders: Encoders, dim: int = 8) -> Encoders:
    """The same embeddings, and ten looks of every tile. One field of view."""
    head = LinearHead(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
    return replace(encoders, image=image_tower(encoders.image, encoders.tile.px, 1, head, looks_head(dim)))
