"""The HNSW graph that a bundle stores of a large reference's embeddings."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.hashing import sha256_of
from bleep_cli.base.rows import Rows
from bleep_cli.bundle.index.measured import SAMPLE_SEED, sample_queries, why_too_few
from bleep_cli.bundle.storage.arrays import Group, StoredArray, array_blocks
from bleep_cli.bundle.stored import reading, stated_number
from bleep_cli.errors import ReferenceError
from bleep_cli.limits import MOST_EF
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import EFS, LEGACY_EF, HnswIndex, hnsw_available, load_graph
from bleep_cli.search.hnsw_build import GraphOptions, build_graph, library_version
from bleep_cli.search.recall import RECALL_K, tune
from bleep_cli.types import Progress, no_progress

GRAPH = "index/hnsw"


def stored_graph(root: Group) -> StoredArray | None:
    """The bytes of a bundle's graph, u8[bytes]; None where it holds none."""
    found = root.get(GRAPH)
    return found if isinstance(found, StoredArray) else None


def why_exact(graph: StoredArray, embeddings: Rows) -> str:
    """Why a stored graph cannot serve a search of ``embeddings``; empty where it can."""
    attrs = graph.attrs
    if not hnsw_available():
        return "hnswlib is not installed"
    if told := why_too_few(attrs, GRAPH):
        return told
    if attrs.get("embeddings_sha256") != sha256_of(embeddings):
        return "it belongs to other embeddings"
    return ""


def load_stored(graph: StoredArray, bundle: str, embeddings: Rows) -> HnswIndex:
    """The stored graph over ``embeddings`` f32[n, d]. Raises ``ReferenceError`` for a damaged one, or one of
    others."""
    n, dim = embeddings.shape
    ef = stated_number(graph.attrs, "ef", LEGACY_EF, GRAPH)
    if not 1 <= ef <= MOST_EF:
        raise ReferenceError(f"{GRAPH}: ef is {ef:g}; 1 to {MOST_EF} is searched")
    with tempfile.TemporaryDirectory(prefix="bleep-") as folder:
        file = Path(folder) / "hnsw"
        with reading(bundle, GRAPH), file.open("wb") as handle:
            for block in array_blocks(graph):
                handle.write(block.astype(np.uint8, casting="no").tobytes())
        return HnswIndex(load_graph(file, n, dim, embeddings=embeddings), int(ef))


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
    graph = load_graph(file, n, dim)
    tuned = tune(lambda ef: HnswIndex(graph, ef).search(sample, RECALL_K).index, wanted, EFS)
    return file, {
        "library": "hnswlib",
        "library_version": library_version(),
        "embeddings_sha256": sha256_of(embeddings),
        "M": options.m,
        "ef_construction": options.ef_construction,
        "seed": options.seed,
        "ef": tuned.effort,
        "recall": tuned.recall,
        "recall_k": RECALL_K,
        "threads": options.threads,
        "reproducible": options.reproducible,
    }
