"""Approximate search for large references: an HNSW graph (hnswlib), tuned to a recall and checked on loading."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.reasons import told
from bleep_cli.base.rows import Rows
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.search.exact import check_found
from bleep_cli.search.graph_file import check_graph
from bleep_cli.search.recall import RECALL_K
from bleep_cli.types import F32, Neighbours

if TYPE_CHECKING:
    import hnswlib

EFS = (64, 100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200)  # tried in this order
LEGACY_EF = 400  # of graphs that do not state theirs (format 1.0)


class HnswIndex:
    """Search through a graph; the same answers as exact search up to its recall.

    ``ef`` is the width of the search that its recall was measured with, for up to ``RECALL_K`` neighbours.
    """

    def __init__(self, graph: hnswlib.Index, ef: int = LEGACY_EF) -> None:
        self._graph, self.ef = graph, ef

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[m, d]`` → the ``min(k, n)`` nearest rows found, equal similarities ordered by index."""
        k = min(k, self._graph.get_current_count())
        if not len(queries):
            return Neighbours(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
        # A loaded graph has hnswlib's own ef of 10 again; more neighbours need a wider search.
        self._graph.set_ef(max(k, math.ceil(self.ef * max(1.0, k / RECALL_K))))
        try:
            labels, distances = self._graph.knn_query(queries, k=k)
        except RuntimeError as error:  # rows that no link leads to
            raise ReferenceError(f"the HNSW graph does not find {k} neighbours of every tile") from error
        similarity = (1.0 - distances).astype(np.float32)
        check_found(labels, similarity, self._graph.get_current_count())
        order = np.lexsort((labels, -similarity), axis=1)
        return Neighbours(
            np.take_along_axis(labels.astype(np.int64), order, axis=1),
            np.take_along_axis(similarity, order, axis=1),
        )


def hnsw_available() -> bool:
    """Whether hnswlib is installed (extra ``hnsw``)."""
    return importlib.util.find_spec("hnswlib") is not None


def load_graph(
    file: Path, rows: int, dim: int, capacity: int | None = None, embeddings: Rows | None = None
) -> hnswlib.Index:
    """The hnswlib index in ``file``, which must hold ``rows`` vectors of ``dim`` dimensions, and those of
    ``embeddings`` where these are given.

    ``capacity`` is how many it can grow to. Raises ``ReferenceError`` for any other file: hnswlib itself takes
    a graph of another dimension silently, and reads and writes wherever its links lead.
    """
    import hnswlib

    try:
        check_graph(file, rows, dim, embeddings)
        graph = hnswlib.Index(space="ip", dim=dim)
        graph.load_index(str(file), max_elements=capacity or rows)
    except BleepError:
        raise
    except Exception as error:
        raise ReferenceError(f"the HNSW graph cannot be used: {told(error)}") from error
    return graph
