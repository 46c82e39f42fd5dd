"""The mean of neighbours and how far they spread around it, gene by gene, in blocks of tiles."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.prediction.expression.impute import DENSE_BYTES, OUT_BYTES, Expression, mixture
from bleep_cli.types import F32, I64, Neighbours

GENES = 512  # squared at a time, so that the squares of a whole reference are never in memory


def mean_and_spread(
    neighbours: Neighbours, weights: F32, expression: Expression, block_rows: int = 2048
) -> Iterator[tuple[int, F32, F32]]:
    """Yields ``(first row, mean f32[b, g], spread f32[b, g])``: the weighted mean of each row's neighbours, as
    ``impute_blocks`` makes it, and their weighted standard deviation around it.

    ``expression`` f32[n_ref, g] is dense, CSR or on disk; that on disk is read once for every ``OUT_BYTES`` of
    results.
    """
    genes = expression.shape[1]
    on_disk = isinstance(expression, StoredExpression)
    tiles = max(1, OUT_BYTES // (8 * max(1, genes) * block_rows)) * block_rows if on_disk else block_rows
    for start in range(0, len(weights), tiles):
        rows = slice(start, start + tiles)
        index, spots = neighbours.index[rows], np.arange(expression.shape[0])
        if on_disk:
            spots, place = np.unique(index, return_inverse=True)
            index = place.reshape(-1, weights.shape[1])
        mix = mixture(weights[rows], index, len(spots))
        mean = np.empty((mix.shape[0], genes), np.float32)
        spread = np.empty_like(mean)
        for columns, values in _columns(expression, spots):
            mean[:, columns] = average = mix @ values
            spread[:, columns] = np.sqrt(np.maximum(mix @ values**2 - average**2, 0))
        for first in range(0, len(mean), block_rows):
            part = slice(first, first + block_rows)
            yield start + first, mean[part], spread[part]


def _columns(expression: Expression, spots: I64) -> Iterator[tuple[I64, F32]]:
    """Columns, and f32[s, b] of those ``spots`` of what lies on disk, of all spots of what is in memory."""
    if isinstance(expression, StoredExpression):
        yield from expression.gene_blocks(spots, DENSE_BYTES)
        return
    for first in range(0, expression.shape[1], GENES):
        values = expression[:, first : first + GENES]
        dense = np.asarray(values.toarray() if hasattr(values, "toarray") else values, np.float32)
        yield np.arange(first, first + dense.shape[1]), dense
