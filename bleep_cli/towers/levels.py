"""The features of the shipped backbone: pooled levels of a frozen network, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.types import F32

LEVEL_DIMS = (320, 192, 112, 80, 40)  # of EfficientNet-Lite0's last five stages
FINE = slice(sum(LEVEL_DIMS[:3]), sum(LEVEL_DIMS[:4]))
"""Columns of the last level but one: of how fine tissue is drawn, more than of what it is."""


def block_scale(widths: Sequence[int]) -> F32:
    """f32[d]: 1/√width for every column of blocks of these widths, so that none outweighs another by its width."""
    return np.concatenate([np.full(width, 1 / np.sqrt(width), np.float32) for width in widths])
