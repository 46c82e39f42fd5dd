"""What an approximate search finds of the exact answer, and how much effort finds enough of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F32, I64

RECALL_K = 50  # the K that recall is stated for, and that effort is chosen at
RECALL_TARGET = 0.99
RECALL_QUERIES = 500


@dataclass(frozen=True)
class Tuned:
    """What tuning a search came to."""

    effort: int
    """The width of an HNSW search, or the number of lists that are looked into."""
    recall: float
    """The recall at ``RECALL_K`` that it reached on the sample, 0 to 1."""


def recall_at(found: I64, wanted: I64) -> F32:
    """Fraction of each query's ``wanted`` i64[m, k] rows that are among ``found`` i64[m, k]: f32[m]."""
    pairs = zip(found, wanted, strict=True)
    return np.array([len(np.intersect1d(a, b)) / len(b) for a, b in pairs], np.float32)


def tune(search: Callable[[int], I64], wanted: I64, efforts: Sequence[int]) -> Tuned:
    """The first of ``efforts`` by which ``search`` finds ``RECALL_TARGET`` of the exact neighbours ``wanted``
    i64[m, k]; it gives i64[m, k] of the same queries.

    The last where none does. It must be above the target by two standard errors of the mean over the
    queries, so that another sample of them is, too.
    """
    tuned = Tuned(efforts[-1], 0.0)
    for effort in efforts:
        each = recall_at(search(effort), wanted)
        error = float(each.std()) / math.sqrt(len(each))
        tuned = Tuned(effort, round(float(each.mean()), 4))
        if each.mean() - 2 * error >= RECALL_TARGET:
            break
    return tuned
