"""The genes that an expression tower takes: those of largest variance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import F64, I64, Bool

if TYPE_CHECKING:
    from scipy import sparse


def most_variable(expression: Sequence[sparse.csr_matrix], count: int, allowed: Bool) -> I64:
    """Columns of the ``count`` genes of largest log1p variance among the ``allowed`` bool[g], ascending; fewer
    where fewer vary. ``expression`` CSR[n, g] log1p of every section on the same genes."""
    variance = log1p_variance(expression) * allowed
    best = np.argsort(-variance, kind="stable")[:count]
    return np.sort(best[variance[best] > 0])


def log1p_variance(expression: Sequence[sparse.csr_matrix]) -> F64:
    """f64[g]: variance of log1p over the spots of all sections."""
    n = sum(e.shape[0] for e in expression)
    mean = sum(np.asarray(e.sum(axis=0), np.float64).ravel() for e in expression) / n
    square = sum(np.asarray(e.multiply(e).sum(axis=0), np.float64).ravel() for e in expression) / n
    return np.asarray(np.maximum(square - mean**2, 0.0), np.float64)
