"""Which search a reference gets."""

from __future__ import annotations

from bleep_cli.base.rows import Rows, SpooledRows
from bleep_cli.bundle.index.graph import load_stored, stored_graph, why_exact
from bleep_cli.bundle.index.lists import LISTS, usable_lists
from bleep_cli.bundle.index.measured import HELD_BYTES
from bleep_cli.bundle.storage.arrays import Group
from bleep_cli.search.exact import ExactIndex
from bleep_cli.types import Index

# Rows. Here exact search takes 0.8 ms of one core per tile (benchmarks/search.py), the fastest tower takes 12.
# Above, it begins to be felt, and lists or a graph of recall 0.99 are worth their time to build.
EXACT_UP_TO = 100_000


def choose_index(root: Group, name: str, embeddings: Rows, exact_up_to: int = EXACT_UP_TO) -> Index:
    """Exact search; above ``exact_up_to`` rows the bundle's lists, or else its graph, where they may be used."""
    if embeddings.shape[0] > exact_up_to and (found := usable_lists(root, name, embeddings)) is not None:
        return found
    graph = stored_graph(root) if embeddings.shape[0] > exact_up_to else None
    if graph is not None and not why_exact(graph, embeddings):
        return load_stored(graph, name, embeddings)
    n, dim = embeddings.shape
    return ExactIndex(embeddings[:n] if 4 * n * dim <= HELD_BYTES else SpooledRows(embeddings))


def memory_of_index(root: Group, embeddings: Rows, exact_up_to: int = EXACT_UP_TO) -> int:
    """Bytes that searching ``embeddings`` takes at most, without the blocks it is done in."""
    held = min(HELD_BYTES, 4 * embeddings.shape[0] * embeddings.shape[1])
    if embeddings.shape[0] > exact_up_to and LISTS in root:
        return held + 3 * 8 * embeddings.shape[0]  # which list a row is in, and its place there and back
    graph = stored_graph(root) if embeddings.shape[0] > exact_up_to else None
    if graph is not None:
        return int(graph.shape[0])
    return held
