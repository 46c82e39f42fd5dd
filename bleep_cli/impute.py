"""Neighbours → weights → expression (paper section 3.3, Table 3's aggregations)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np

from bleep_cli.types import F32, Neighbours

Aggregation = Literal["average", "simple", "weighted", "published-weighted"]
AGGREGATIONS: tuple[Aggregation, ...] = ("average", "simple", "weighted", "published-weighted")

WEIGHTED_TEMPERATURE = 0.05
PUBLISHED_NORM_SQUARED = 256.0  # the published code compares LayerNorm outputs of 256 dimensions, norm 16
DENSE_BYTES = 1 << 30  # a reference larger than this is kept sparse


def weigh(neighbours: Neighbours, how: Aggregation, temperature: float = WEIGHTED_TEMPERATURE) -> F32:
    """Weights f32[n, k] of the neighbours; every row sums to 1.

    - ``average``: all alike, the paper's default;
    - ``simple``: the nearest alone;
    - ``weighted``: softmax of cosine / temperature;
    - ``published-weighted``: the published code's exp(-(d² - d²min + 1)) on vectors of norm 16, which is
      nearly ``simple``.
    """
    similarity = neighbours.similarity
    if how == "average":
        return np.full_like(similarity, 1.0 / similarity.shape[1])
    if how == "simple":
        out = np.zeros_like(similarity)
        out[:, 0] = 1.0
        return out
    # |a - b|² = 2·norm²·(1 - cos); constants cancel in the normalisation
    scale = 1.0 / temperature if how == "weighted" else 2.0 * PUBLISHED_NORM_SQUARED
    weights = np.exp((similarity - similarity.max(axis=1, keepdims=True)) * np.float32(scale))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def impute_blocks(
    neighbours: Neighbours, weights: F32, expression: Any, block_rows: int = 2048
) -> Iterator[tuple[int, F32]]:
    """Yields ``(first row, f32[b, g])``: each row the weighted mean of its neighbours' expression.

    ``expression`` is ``f32[n_ref, g]``, dense or CSR.
    """
    from scipy import sparse

    n, k = neighbours.index.shape
    for start in range(0, n, block_rows):
        index, w = neighbours.index[start : start + block_rows], weights[start : start + block_rows]
        indptr = np.arange(0, len(index) * k + 1, k)
        mix = sparse.csr_matrix((w.ravel(), index.ravel(), indptr), shape=(len(index), expression.shape[0]))
        block = mix @ expression
        if sparse.issparse(block):
            block = block.toarray()
        yield start, np.asarray(block, np.float32)
