"""Exact search for the nearest reference rows by cosine similarity, in bounded memory.

All vectors are unit vectors, so the order by cosine is the order by Euclidean distance (the paper's
Algorithm 1 uses the latter). Exact search is the oracle; the HNSW graph of ``hnsw.py`` is a cache of the
embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import Rows
from bleep_cli.errors import ReferenceError
from bleep_cli.types import F32, I64, Bool, Neighbours

ROW_BLOCK = 16_384  # reference rows compared at a time; 16 MB of 256 dimensions
QUERY_BLOCK = 256  # queries compared with them at a time; 16 MB of similarities
GROUPS_PER_NEIGHBOUR = 4  # of the first look at a block, see _floor


class ExactIndex:
    """Exact search over ``embeddings`` f32[n, d], in memory or on disk; they are read once per search.

    Memory beyond the embeddings: one block of rows, its similarities, and the k nearest of every query. Rows that
    are not ``kept``, bool[n], are never found; None keeps all.
    """

    def __init__(
        self,
        embeddings: Rows,
        row_block: int = ROW_BLOCK,
        query_block: int = QUERY_BLOCK,
        *,
        kept: Bool | None = None,
    ) -> None:
        self._embeddings, self._kept = embeddings, kept
        self._row_block, self._query_block = row_block, query_block

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[m, d]`` → the ``min(k, n)`` nearest rows (n: those kept), equal similarities ordered by index."""
        n = self._embeddings.shape[0]
        k = min(k, n if self._kept is None else int(self._kept.sum()))
        index = np.full((len(queries), k), n, np.int64)
        similarity = np.full((len(queries), k), -np.inf, np.float32)
        if len(queries):
            for first in range(0, n, self._row_block):
                rows = np.asarray(self._embeddings[first : first + self._row_block], np.float32)
                for start in range(0, len(queries), self._query_block):
                    some = slice(start, start + self._query_block)
                    found = queries[some] @ rows.T
                    if self._kept is not None:
                        found[:, ~self._kept[first : first + len(rows)]] = -np.inf
                    _merge(found, first, index[some], similarity[some])
        check_found(index, similarity, n)
        return Neighbours(index, similarity)


def check_found(index: NDArray[Any], similarity: F32, rows: int) -> None:
    """``ReferenceError`` unless what a search found are rows of the reference and their similarities are numbers:
    what takes them for row numbers reads memory by them."""
    inside = index.size == 0 or 0 <= int(index.min()) <= int(index.max()) < rows
    if not inside or not np.isfinite(similarity).all():
        raise ReferenceError(
            "a tile has no neighbours among the spots: the image tower or the reference is broken"
        )


def _merge(found: F32, first: int, index: I64, similarity: F32) -> None:
    """Puts what is nearer among ``found`` f32[m, r], rows ``first`` and on, into the k nearest so far, in place.

    A row that is only as near as the farthest of them stays out: it comes later, and ties go by index.
    """
    k = index.shape[1]
    near = found > similarity[:, -1:]
    if first == 0:
        near &= found >= _floor(found, k)
    query, column = np.divmod(np.flatnonzero(near), found.shape[1])
    if not len(query):
        return
    counts = np.bincount(query, minlength=len(found))
    some = np.flatnonzero(counts)  # the queries that something changes for
    place = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
    slot = np.cumsum(counts > 0) - 1
    values = np.full((len(some), k + counts.max()), -np.inf, np.float32)
    rows = np.full(values.shape, np.iinfo(np.int64).max)
    values[:, :k], rows[:, :k] = similarity[some], index[some]
    values[slot[query], k + place] = found[query, column]
    rows[slot[query], k + place] = first + column
    order = np.argsort(-values, axis=1, kind="stable")[:, :k]  # they stand in the order of their index
    similarity[some] = np.take_along_axis(values, order, axis=1)
    index[some] = np.take_along_axis(rows, order, axis=1)


def _floor(found: F32, k: int) -> F32:
    """f32[m, 1]: at least k of each query's similarities are no smaller than this; -inf where there are few.

    It is the k-th largest among the largest of small groups of columns: a bound from one pass over the
    similarities, where selecting the k-th of them all would take ten times as long.
    """
    size = max(1, found.shape[1] // (GROUPS_PER_NEIGHBOUR * k))
    groups = found.shape[1] // size
    if groups < k:
        return np.full((len(found), 1), -np.inf, np.float32)
    largest = found[:, : groups * size].reshape(len(found), groups, size).max(axis=2)
    return np.asarray(np.partition(largest, groups - k, axis=1)[:, groups - k, None])
