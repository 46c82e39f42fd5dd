"""What an index states of itself, and how it is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bleep_cli.base.rows import Rows
from bleep_cli.bundle.stored import sample_rows, stated_number
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.recall import RECALL_K, RECALL_QUERIES, RECALL_TARGET, recall_at
from bleep_cli.types import F32, Index

HELD_BYTES = 256 << 20  # embeddings up to this size are kept in memory, larger ones in a temporary file
SAMPLE_SEED = 0


def why_too_few(attrs: Mapping[str, Any], array: str) -> str:
    """Why an index of these attributes does not find enough; empty where it does."""
    if not stated_number(attrs, "recall", 1.0, array) >= RECALL_TARGET:
        return f"its recall@{RECALL_K} of {attrs['recall']} is under {RECALL_TARGET}"
    return ""


def measured_recall(index: Index, embeddings: Rows, queries: F32) -> float:
    """Mean share of the exact ``RECALL_K`` nearest rows that a search of them finds."""
    wanted = ExactIndex(embeddings).search(queries, RECALL_K).index
    return float(recall_at(index.search(queries, RECALL_K).index, wanted).mean())


def sample_queries(rows: Rows, seed: int) -> F32:
    """Up to ``RECALL_QUERIES`` of the rows, f32[m, d]."""
    return np.asarray(sample_rows(rows, RECALL_QUERIES, seed), np.float32)
