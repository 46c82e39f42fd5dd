"""Weighted means of rows that are held in memory, on all cores, by parts that suit a processor's cache.

Over all genes at once a row of the reference is 58 KB for 14,505 genes, and fifty of them push each other, and the
sum, out of the cache. Every value is summed by itself in the order of its neighbours, so neither the parts nor the
threads that share them change a bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bleep_cli.base.machine import usable_cores
from bleep_cli.types import F32, I64

CACHED_BYTES = 2 << 20  # of the neighbours' expression, taken at a time
FEWEST_GENES = 128  # of narrower parts copying costs more than it saves
TAKEN_AGAIN = 4  # how often a row has to be a neighbour for its copy to pay
TILES = 128  # at a time where genes are not parted
MOST_THREADS = 4


def mean_of_rows(weights: F32, index: I64, rows: F32) -> F32:
    """f32[b, g]: the rows of f32[n, g] at ``index`` i64[b, k], each times its weight f32[b, k], summed."""
    from scipy import sparse

    taken, place = np.unique(index, return_inverse=True)
    width = CACHED_BYTES // (4 * max(1, len(taken)))
    by_genes = width >= FEWEST_GENES and index.size >= TAKEN_AGAIN * len(taken)
    columns = (place if by_genes else index).ravel()
    indptr = np.arange(0, weights.size + 1, weights.shape[1])
    shape = len(weights), len(taken) if by_genes else len(rows)
    mix = sparse.csr_matrix((weights.ravel(), columns, indptr), shape=shape)
    out = np.empty((len(weights), rows.shape[1]), np.float32)

    def of_genes(first: int) -> None:
        genes = slice(first, first + width)
        out[:, genes] = mix @ rows[:, genes][taken]

    def of_tiles(first: int) -> None:
        out[first : first + TILES] = mix[first : first + TILES] @ rows

    with ThreadPoolExecutor(min(usable_cores(), MOST_THREADS), "bleep-mean") as pool:
        if by_genes:
            list(pool.map(of_genes, range(0, rows.shape[1], width)))
        else:
            list(pool.map(of_tiles, range(0, len(weights), TILES)))
    return out
