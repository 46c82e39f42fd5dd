"""The features of the shipped backbone: pooled levels of a frozen network, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.types import F32

LEVEL_DIMS = (320, 192, 112, 80, 40)  # of EfficientNet-Lite0's last five stages
FINE = slice(sum(LEVEL_DIMS[:3]), sum(LEVEL_DIMS[:4]))
"""Columns of the last level but one: of how fine tissue is drawn, more than of what it is."""


ROWS = 4096  # that are looked at at a time


def block_scale(widths: Sequence[int], rows: F32, *, shipped: bool) -> F32:
    """f32[d] by which blocks of features of these widths weigh alike: none outweighs another by its width, nor by
    the size of its numbers, and a penalty means the same to any network.

    Over ``rows`` f32[n, d], n of one or more, the variances of a block's columns sum to one. A block that never
    varies is left as it is. The ``shipped`` network's blocks are scaled by their width alone: its recipe was
    picked with the sizes that its numbers have. The columns of its stages vary by 0.8 to 2.0, those of DINOv2's
    layers by 0.0002 and 0.003.
    """
    if shipped:
        return width_scale(widths)
    total, squares = np.zeros(rows.shape[1]), np.zeros(rows.shape[1])
    first = rows[0].astype(np.float64)  # taken off, so that large numbers that vary little lose no digits
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS] - first
        total += some.sum(axis=0)
        squares += (some**2).sum(axis=0)
    variance = np.maximum(squares / len(rows) - (total / len(rows)) ** 2, 0)
    ends = np.cumsum(widths)
    of_block = [variance[end - width : end].mean() for width, end in zip(widths, ends, strict=True)]
    scales = [1 / np.sqrt(width * (v if v > 0 else 1.0)) for width, v in zip(widths, of_block, strict=True)]
    return np.repeat(np.array(scales, np.float32), widths)


def width_scale(widths: Sequence[int]) -> F32:
    """f32[d]: 1/√width for every column of blocks of these widths, whatever their numbers."""
    return np.repeat(np.array([1 / np.sqrt(width) for width in widths], np.float32), widths)
