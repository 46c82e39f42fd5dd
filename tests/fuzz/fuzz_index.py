"""A stored HNSW graph, altered and searched: were a link to lead out of it, the process would end."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from doors import told
from mutate import mutated

from bleep_cli.errors import ReferenceError
from bleep_cli.search.hnsw import HnswIndex, load_graph
from bleep_cli.search.hnsw_build import GraphOptions, build_graph

ROWS, DIM = 400, 8


class Graph:
    """The file of a graph of 400 rows on several levels."""

    def __init__(self, folder: Path) -> None:
        values = np.random.default_rng(0).normal(size=(ROWS, DIM))
        self._rows = (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)
        self._folder = folder
        self._data = build_graph(self._rows, folder / "work", GraphOptions(m=4)).read_bytes()

    def attempt(self, rng: random.Random) -> str:
        """Loads it, half the time with the embeddings that it has to hold, and searches it."""
        file = self._folder / "altered"
        file.write_bytes(mutated(self._data, rng))
        try:
            graph = load_graph(file, ROWS, DIM, embeddings=self._rows if rng.random() < 0.5 else None)
            found = HnswIndex(graph, rng.choice((10, 64, 400))).search(self._rows[:20], rng.choice((1, 10, 60)))
        except ReferenceError as error:
            return told(error, self._folder)
        assert found.index.min() >= 0 and found.index.max() < ROWS
        return "read"


door = Graph
