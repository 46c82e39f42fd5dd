"""The stored indexes of a bundle, checked: of its own embeddings, and finding as much as they state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bleep_cli.base.hashing import sha256_of
from bleep_cli.base.rows import Rows
from bleep_cli.base.text import counted
from bleep_cli.bundle.index.choose import EXACT_UP_TO
from bleep_cli.bundle.index.graph import GRAPH, load_stored
from bleep_cli.bundle.index.lists import CENTRES, LISTS, list_index
from bleep_cli.bundle.index.measured import measured_recall, sample_queries, why_too_few
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import stated_number
from bleep_cli.choices import Key
from bleep_cli.errors import ReferenceError
from bleep_cli.search.hnsw import hnsw_available
from bleep_cli.search.recall import RECALL_K
from bleep_cli.types import Index

RECALL_SLACK = 0.02  # between one sample and another
SAMPLE_SEED = 1  # another sample than the one that effort was chosen on


def verified_index(bundle: Bundle) -> str:
    """A line of what is stored, finds and is used for; ``ReferenceError`` for what does not hold."""
    rows = bundle.embedding_rows(bundle.info.key)
    told = [_of_lists(bundle, rows), _of_graph(bundle, rows)]
    return "; ".join(filter(None, told)) or f"none stored; search is exact, recall@{RECALL_K} 1.000"


def _of_lists(bundle: Bundle, rows: Rows) -> str:
    if LISTS not in bundle.root:
        return ""
    index, attrs = list_index(bundle.root, bundle.name, rows)
    if attrs.get("embeddings_sha256") != index.embeddings_sha256:
        raise ReferenceError("the stored lists belong to other embeddings; they are not used")
    recall = _recall(bundle, index, attrs, LISTS)
    count = counted(len(index.lists.centres), "list")
    return f"{count}, recall@{RECALL_K} {recall:.4f} in {index.lists.probes} of them; {_used(rows, attrs, LISTS)}"


def _of_graph(bundle: Bundle, rows: Rows) -> str:
    if GRAPH not in bundle.root:
        return ""
    graph = bundle.array(GRAPH)
    if graph.attrs.get("embeddings_sha256") != sha256_of(rows):
        raise ReferenceError("the stored HNSW graph belongs to other embeddings; it is not used")
    if not hnsw_available():
        return "HNSW stored; hnswlib is not installed"
    near = load_stored(graph, bundle.name, rows)
    recall = _recall(bundle, near, graph.attrs, GRAPH)
    if LISTS in bundle.root and not why_too_few(bundle.array(CENTRES).attrs, LISTS):
        used = "the lists come first"
    else:
        used = _used(rows, graph.attrs, GRAPH)
    return f"HNSW recall@{RECALL_K} {recall:.4f} at ef {near.ef}; {used}"


def _recall(bundle: Bundle, index: Index, attrs: Mapping[str, Any], array: str) -> float:
    """Measured anew; ``ReferenceError`` where it states more."""
    other: Key = "image" if bundle.info.key == "expression" else "expression"
    queries = sample_queries(bundle.embedding_rows(other), SAMPLE_SEED)
    recall = measured_recall(index, bundle.embedding_rows(bundle.info.key), queries)
    stated = stated_number(attrs, "recall", recall, array)
    if recall < stated - RECALL_SLACK:
        raise ReferenceError(f"{array}: its recall@{RECALL_K} is {recall:.4f}; it states {stated}")
    return recall


def _used(rows: Rows, attrs: Mapping[str, Any], array: str) -> str:
    reason = why_too_few(attrs, array)
    if not reason and rows.shape[0] <= EXACT_UP_TO:
        reason = f"{rows.shape[0]} spots are no more than {EXACT_UP_TO}"
    return f"search is exact: {reason}" if reason else "used"
