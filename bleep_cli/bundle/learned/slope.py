"""How expression changes along the image embedding of a reference, for predictions that are corrected by it
(``prediction/expression/correct.py``)."""

from __future__ import annotations

import numpy as np

from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.types import F32, F64

RIDGE = 0.04  # penalty per spot, so that a reference of any size is as cautious
SHARE = 0.7  # of the fitted slope: what is learned on one donor holds for another in part
ROW_BLOCK = 2048


def expression_slope(images: Rows, expression: Rows, ridge: float = RIDGE, share: float = SHARE) -> F32:
    """f32[d, g]: the ridge regression of log1p expression [n, g] on unit vectors f32[n, d], both centred, times
    ``share``; ``ridge`` is the penalty per spot. Both are read once, a block of rows at a time."""
    return np.asarray(share * ridge_regression(images, expression, ridge)[1], np.float32)


def ridge_regression(known: Rows, wanted: Rows, ridge: float) -> tuple[F64, F64]:
    """Means f64[g] of ``wanted`` [n, g], and its coefficients f64[d, g] on ``known`` f32[n, d], both centred;
    ``ridge`` is the penalty per row. ``wanted`` is read once, a block of rows at a time."""
    n, d = known.shape
    mean = sum(np.asarray(block).sum(axis=0, dtype=np.float64) for block in row_blocks(known, ROW_BLOCK)) / n
    gram: F64 = ridge * n * np.eye(d)
    total: F64 = np.zeros(wanted.shape[1])
    cross: F64 = np.zeros((d, wanted.shape[1]))
    for vectors, measured in zip(row_blocks(known, ROW_BLOCK), row_blocks(wanted, ROW_BLOCK), strict=True):
        centred = vectors - mean  # its sum is 0, so what is wanted need not be centred
        gram += centred.T @ centred
        cross += np.asarray(measured.T @ centred.astype(np.float32)).T
        total += np.asarray(measured.sum(axis=0, dtype=np.float64)).ravel()
    return total / n, np.asarray(np.linalg.solve(gram, cross), np.float64)
