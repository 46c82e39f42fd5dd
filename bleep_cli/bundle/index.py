"""The index of a bundle: which search a reference gets, and the HNSW graph that is stored for a large one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.hashing import sha256_of
from bleep_cli.base.rows import Rows, SpooledRows
from bleep_cli.bundle.storage.arrays import Group, StoredArray, array_blocks
from bleep_cli.bundle.stored import reading, sample_rows
from bleep_cli.errors import ReferenceError
from bleep_cli.limits import MOST_EF
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import (
    LEGACY_EF,
    RECALL_K,
    RECALL_QUERIES,
    RECALL_TARGET,
    HnswIndex,
    hnsw_available,
    load_graph,
    tune,
)
from bleep_cli.search.hnsw_build import GraphOptions, build_graph, library_version
from bleep_cli.types import F32, Index, Progress, no_progress

# Rows. Here exact search takes 0.8 ms of one core per tile (benchmarks/search.py), the fastest tower takes 12.
# Above, it begins to be felt, and a graph of recall 0.99 is worth its time to build and its place in the bundle.
EXACT_UP_TO = 100_000
HELD_BYTES = 256 << 20  # embeddings up to this size are kept in memory, larger ones in a temporary file
GRAPH = "index/hnsw"
SAMPLE_SEED = 0


def choose_index(root: Group, name: str, embeddings: Rows, exact_up_to: int = EXACT_UP_TO) -> Index:
    """Exact search, or above ``exact_up_to`` rows the bundle's graph where there is one that may be used."""
    graph = stored_graph(root) if embeddings.shape[0] > exact_up_to else None
    if graph is not None and not why_exact(graph, embeddings):
        return load_stored(graph, name, embeddings)
    n, dim = embeddings.shape
    return ExactIndex(embeddings[:n] if 4 * n * dim <= HELD_BYTES else SpooledRows(embeddings))


def memory_of_index(root: Group, embeddings: Rows, exact_up_to: int = EXACT_UP_TO) -> int:
    """Bytes that searching ``embeddings`` takes at most, without the blocks it is done in."""
    graph = stored_graph(root) if embeddings.shape[0] > exact_up_to else None
    if graph is not None:
        return int(graph.shape[0])
    return min(HELD_BYTES, 4 * embeddings.shape[0] * embeddings.shape[1])


def stored_graph(root: Group) -> StoredArray | None:
    """The bytes of a bundle's graph, u8[bytes]; None where it holds none."""
    found = root.get(GRAPH)
    return found if isinstance(found, StoredArray) else None


def why_exact(graph: StoredArray, embeddings: Rows) -> str:
    """Why a stored graph cannot serve a search of ``embeddings``; empty where it can."""
    attrs = graph.attrs
    if not hnsw_available():
        return "hnswlib is not installed"
    if not stated_number(attrs, "recall", 1.0) >= RECALL_TARGET:
        return f"its recall@{RECALL_K} of {attrs['recall']} is under {RECALL_TARGET}"
    if attrs.get("embeddings_sha256") != sha256_of(embeddings):
        return "it belongs to other embeddings"
    return ""


def load_stored(graph: StoredArray, bundle: str, embeddings: Rows) -> HnswIndex:
    """The stored graph over ``embeddings`` f32[n, d]. Raises ``ReferenceError`` for a damaged one, or one of
    others."""
    n, dim = embeddings.shape
    ef = stated_number(graph.attrs, "ef", LEGACY_EF)
    if not 1 <= ef <= MOST_EF:
        raise ReferenceError(f"{GRAPH}: ef is {ef:g}; 1 to {MOST_EF} is searched")
    with tempfile.TemporaryDirectory(prefix="bleep-") as folder:
        file = Path(folder) / "hnsw"
        with reading(bundle, GRAPH), file.open("wb") as handle:
            for block in array_blocks(graph):
                handle.write(block.astype(np.uint8, casting="no").tobytes())
        return HnswIndex(load_graph(file, n, dim, embeddings=embeddings), int(ef))


def stated_number(attrs: Mapping[str, Any], name: str, default: float, array: str = GRAPH) -> float:
    """A number among the attributes of an ``array``; ``ReferenceError`` for anything else of that name."""
    value = attrs.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ReferenceError(f"{array}: {name} is {value!r:.100} and no number")
    return float(value)


def make_graph(
    embeddings: Rows, queries: Rows, options: GraphOptions, work: Path, progress: Progress = no_progress
) -> tuple[Path, dict[str, Any]]:
    """Builds the graph of ``embeddings`` f32[n, d] in the folder ``work``; its file and its attributes.

    ``ef`` is chosen on a sample of ``queries`` f32[n, d], the same spots' embeddings on the other side, which
    the graph does not hold and which lie as a slide's tiles do.
    """
    file = build_graph(embeddings, work, options, progress)
    n, dim = embeddings.shape
    sample = sample_queries(queries, SAMPLE_SEED)
    wanted = ExactIndex(embeddings).search(sample, RECALL_K).index
    tuned = tune(load_graph(file, n, dim), sample, wanted)
    return file, {
        "library": "hnswlib",
        "library_version": library_version(),
        "embeddings_sha256": sha256_of(embeddings),
        "M": options.m,
        "ef_construction": options.ef_construction,
        "seed": options.seed,
        "ef": tuned.ef,
        "recall": tuned.recall,
        "recall_k": RECALL_K,
        "threads": options.threads,
        "reproducible": options.reproducible,
    }


def sample_queries(rows: Rows, seed: int) -> F32:
    """Up to ``RECALL_QUERIES`` of the rows, f32[m, d]."""
    return np.asarray(sample_rows(rows, RECALL_QUERIES, seed), np.float32)
