"""Nearest reference rows by cosine similarity: exact, and HNSW for large references.

All vectors are unit vectors, so the order by cosine is the order by Euclidean distance (the paper's
Algorithm 1 uses the latter). Exact search is the oracle; the HNSW graph is a cache of the embeddings.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.errors import DeviceError
from bleep_cli.types import F32, U8, Index, Neighbours

EXACT_UP_TO = 200_000  # rows; below this exact search costs less than a tenth of embedding one tile
HNSW_M = 16
HNSW_EF_CONSTRUCTION = 200
HNSW_EF = 400  # hnswlib's own default of 10 would return garbage at K = 50


class ExactIndex:
    """Exact search over ``embeddings`` f32[n, d]; queries are taken in blocks of bounded memory."""

    def __init__(self, embeddings: F32, block_bytes: int = 64 << 20) -> None:
        self._embeddings = embeddings
        self._block = max(1, block_bytes // (4 * max(1, len(embeddings))))

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[m, d]`` → the ``min(k, n)`` nearest rows, equal similarities ordered by index."""
        k = min(k, len(self._embeddings))
        index = np.empty((len(queries), k), np.int64)
        similarity = np.empty((len(queries), k), np.float32)
        for start in range(0, len(queries), self._block):
            rows = slice(start, start + self._block)
            index[rows], similarity[rows] = _top(queries[rows] @ self._embeddings.T, k)
        return Neighbours(index, similarity)


def _top(similarities: F32, k: int) -> tuple[Any, F32]:
    """The k largest of each row, descending, ties by column; f32[m, n] → i64[m, k], f32[m, k]."""
    n = similarities.shape[1]
    kth = np.partition(similarities, n - k, axis=1)[:, n - k, None]
    # Of the values equal to the k-th, only as many of the first columns as there is room for.
    above, equal = similarities > kth, similarities == kth
    room = k - above.sum(axis=1, keepdims=True)
    keep = above | (equal & (np.cumsum(equal, axis=1) <= room))
    columns = np.nonzero(keep)[1].reshape(-1, k)
    values = np.take_along_axis(similarities, columns, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    return np.take_along_axis(columns, order, axis=1), np.take_along_axis(values, order, axis=1)


class HnswIndex:
    """Approximate search through hnswlib; same answers as exact search up to its recall."""

    def __init__(self, index: Any) -> None:
        self._index = index

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[m, d]`` → the ``min(k, n)`` nearest rows found, equal similarities ordered by index."""
        k = min(k, self._index.get_current_count())
        self._index.set_ef(max(HNSW_EF, k))
        labels, distances = self._index.knn_query(queries, k=k)
        similarity = (1.0 - distances).astype(np.float32)
        order = np.lexsort((labels, -similarity), axis=1)
        return Neighbours(
            np.take_along_axis(labels.astype(np.int64), order, axis=1),
            np.take_along_axis(similarity, order, axis=1),
        )


def hnsw_available() -> bool:
    """Whether hnswlib is installed (extra ``hnsw``)."""
    return importlib.util.find_spec("hnswlib") is not None


def build_hnsw(embeddings: F32, seed: int = 0) -> U8:
    """The serialised HNSW graph of ``embeddings``; one thread, so the same input gives the same bytes.

    Raises ``DeviceError`` where hnswlib is not installed.
    """
    if not hnsw_available():
        raise DeviceError('hnswlib is not installed; install it with "pip install bleep-cli[hnsw]"')
    import hnswlib

    index = hnswlib.Index(space="ip", dim=embeddings.shape[1])
    index.init_index(len(embeddings), ef_construction=HNSW_EF_CONSTRUCTION, M=HNSW_M, random_seed=seed)
    index.add_items(embeddings, np.arange(len(embeddings)), num_threads=1)
    with tempfile.TemporaryDirectory(prefix="bleep-") as folder:
        file = Path(folder) / "hnsw"
        index.save_index(str(file))
        return np.frombuffer(file.read_bytes(), np.uint8)


def load_hnsw(data: U8, rows: int, dim: int) -> HnswIndex:
    """A graph from its bytes; ``rows`` and ``dim`` must be those it was built with."""
    import hnswlib

    index = hnswlib.Index(space="ip", dim=dim)
    with tempfile.TemporaryDirectory(prefix="bleep-") as folder:
        file = Path(folder) / "hnsw"
        file.write_bytes(data.tobytes())
        index.load_index(str(file), max_elements=rows)
    return HnswIndex(index)


def make_index(embeddings: F32, stored: U8 | None, exact_up_to: int = EXACT_UP_TO) -> Index:
    """The right index for a reference: exact, or HNSW above ``exact_up_to`` rows where hnswlib is there.

    ``stored`` is the bundle's serialised graph if it belongs to exactly these embeddings, else None.
    """
    if len(embeddings) <= exact_up_to or not hnsw_available():
        return ExactIndex(embeddings)
    data = stored if stored is not None else build_hnsw(embeddings)
    return load_hnsw(data, *embeddings.shape)
