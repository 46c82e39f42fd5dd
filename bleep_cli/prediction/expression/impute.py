"""Neighbours → weights → expression (paper section 3.3, Table 3's aggregations)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.choices import PLACED, WEIGHTED_TEMPERATURE, Aggregation
from bleep_cli.prediction.expression.dense import mean_of_rows
from bleep_cli.types import F32, I64, Neighbours

if TYPE_CHECKING:
    from scipy import sparse

Expression: TypeAlias = "F32 | sparse.csr_matrix | StoredExpression"
"""log1p [n_ref, g], dense, CSR or on disk."""
PUBLISHED_NORM_SQUARED = 256.0  # the published code compares LayerNorm outputs of 256 dimensions, norm 16
DENSE_BYTES = 1 << 30  # expression larger than this is left on disk, and read a block of genes at a time
OUT_BYTES = 512 << 20  # predictions of that size are made in one pass over expression on disk


def weigh(neighbours: Neighbours, how: Aggregation, temperature: float = WEIGHTED_TEMPERATURE) -> F32:
    """Weights f32[n, k] of the neighbours; every row sums to 1.

    - ``average``: all alike, the paper's default;
    - ``corrected``: the same weights; what comes of them is corrected by the tile's place (``correct.py``);
    - ``projected``: the same, of what the reference's components see (``project.py``);
    - ``simple``: the nearest alone;
    - ``weighted``: softmax of cosine / temperature;
    - ``published-weighted``: the published code's exp(-(d² - d²min + 1)) on vectors of norm 16, which is
      nearly ``simple``.
    """
    similarity = neighbours.similarity
    if how == "average" or how in PLACED:
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
    neighbours: Neighbours,
    weights: F32,
    expression: Expression,
    block_rows: int = 2048,
) -> Iterator[tuple[int, F32]]:
    """Yields ``(first row, f32[b, g])``: each row the weighted mean of its neighbours' expression.

    ``expression`` is ``f32[n_ref, g]``, dense, CSR or on disk. The sums are taken in f32, in the order of the
    neighbours, so dense and on disk give the same bits.
    """
    if isinstance(expression, StoredExpression):
        yield from _from_disk(neighbours, weights, expression, block_rows)
        return
    for start in range(0, len(weights), block_rows):
        rows = slice(start, start + block_rows)
        if isinstance(expression, np.ndarray):
            yield start, mean_of_rows(weights[rows], neighbours.index[rows], expression)
            continue
        block = mixture(weights[rows], neighbours.index[rows], expression.shape[0]) @ expression
        yield start, np.asarray(block.toarray(), np.float32)


def memory_of_expression(n_ref: int, genes: int, tiles: int) -> int:
    """Bytes that expression and its means take at most while a slide of that many tiles is imputed."""
    dense = 4 * n_ref * genes
    return dense if dense <= DENSE_BYTES else DENSE_BYTES + min(OUT_BYTES, 4 * tiles * genes)


def _from_disk(
    neighbours: Neighbours, weights: F32, expression: StoredExpression, block_rows: int
) -> Iterator[tuple[int, F32]]:
    """The same with at most ``OUT_BYTES`` of predictions and ``DENSE_BYTES`` of expression in memory.

    One pass makes as many tiles as fit; it reads the spots that are neighbours of any of them, the genes of
    one chunk at a time, and so every chunk once.
    """
    n, genes = len(weights), expression.shape[1]
    tiles = max(1, OUT_BYTES // (4 * max(1, genes) * block_rows)) * block_rows
    for start in range(0, n, tiles):
        rows = slice(start, start + tiles)
        spots, place = np.unique(neighbours.index[rows], return_inverse=True)
        mix = mixture(weights[rows], place.reshape(-1, weights.shape[1]), len(spots))
        out = np.empty((mix.shape[0], genes), np.float32)
        for columns, values in expression.gene_blocks(spots, DENSE_BYTES):
            out[:, columns] = mix @ values
        for first in range(0, len(out), block_rows):
            yield start + first, out[first : first + block_rows]


def mixture(weights: F32, index: I64, n_ref: int) -> sparse.csr_matrix:
    """CSR f32[b, n_ref]: the weights f32[b, k] at their neighbours i64[b, k]."""
    from scipy import sparse

    indptr = np.arange(0, weights.size + 1, weights.shape[1])
    return sparse.csr_matrix((weights.ravel(), index.ravel(), indptr), shape=(len(weights), n_ref))
