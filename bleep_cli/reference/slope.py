"""How expression changes along the image embedding of a reference, for predictions that are corrected by it."""

from __future__ import annotations

import numpy as np

from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.types import F32, F64

RIDGE = 0.04  # penalty per spot; chosen with SHARE on several cohorts, docs/results.md
SHARE = 0.7  # of the fitted slope: what is learned on one donor holds for another in part
ROW_BLOCK = 4096


def expression_slope(images: F32, expression: Rows) -> F32:
    """f32[d, g]: the ridge regression of log1p expression [n, g] on unit vectors f32[n, d], both centred, times
    ``SHARE``. Expression is read once, a block of rows at a time."""
    n, d = images.shape
    mean = images.mean(axis=0, dtype=np.float64)
    cross: F64 = np.zeros((d, expression.shape[1]))
    first = 0
    for block in row_blocks(expression, ROW_BLOCK):
        centred = images[first : first + block.shape[0]] - mean  # its sum is 0, so expression need not be centred
        cross += np.asarray((block.T @ centred).T, np.float64)
        first += block.shape[0]
    centred = images - mean
    gram = centred.T @ centred + RIDGE * n * np.eye(d)
    return np.asarray(SHARE * np.linalg.solve(gram, cross), np.float32)
