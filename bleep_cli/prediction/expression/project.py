"""The corrected mean of neighbours, as the principal components of the reference see it.

With s_k the scores of the neighbours, w_k their weights, B_s the slope of scores on image embeddings, L the
loadings and μ the mean (``bundle/learned/components.py``), a tile says
``μ + (Σ w_k s_k + (u - Σ w_k u_k) B_s) L``: what ``correct.py`` says, had every spot been measured as the
components see it. It is still a sum over the listed neighbours, each of which says ``μ + s_k L``. log1p is not
negative, so neither is the result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bleep_cli.bundle.learned.components import Components
from bleep_cli.prediction.expression.impute import mixture
from bleep_cli.types import F32, Neighbours

GENES = 4096  # multiplied at a time, so that the finer sums of a block are never in memory whole


def projected_blocks(
    neighbours: Neighbours, weights: F32, offset: F32, seen: Components, block_rows: int = 2048
) -> Iterator[tuple[int, F32]]:
    """Yields ``(first row, f32[b, g])``, a little below 0 where nothing is expected.

    ``weights`` f32[n, k], ``offset`` f32[n, d] as ``correct.py`` makes it. Summed in f64, so that a tile gives the
    same beside other tiles as alone, and a gene the same beside other genes.
    """
    scores, slope = seen.scores.astype(np.float64), seen.slope.astype(np.float64)
    for start in range(0, len(weights), block_rows):
        rows = slice(start, start + block_rows)
        told = mixture(weights[rows], neighbours.index[rows], len(scores)) @ scores + offset[rows] @ slope
        out = np.empty((len(told), seen.shape[1]), np.float32)
        for first in range(0, seen.shape[1], GENES):
            genes = slice(first, first + GENES)
            out[:, genes] = told @ seen.loadings[:, genes].astype(np.float64) + seen.mean[genes]
        yield start, out
