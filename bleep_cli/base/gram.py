"""Singular values and vectors by a Gram matrix."""

from __future__ import annotations

import numpy as np

from bleep_cli.types import F64


def leading(gram: F64, keep: int) -> tuple[F64, F64]:
    """Singular values f64[k], largest first, and vectors f64[m, k] on the side of a Gram matrix f64[m, m]: the
    ``keep`` largest, without those that are rounding. Signs are fixed: the same matrix gives the same vectors."""
    values, vectors = np.linalg.eigh(gram)
    order = np.argsort(-values, kind="stable")[:keep]
    order = order[values[order] > max(values.max(initial=0.0), 0.0) * 1e-10]
    small = vectors[:, order]
    small = small * np.where(small[np.abs(small).argmax(axis=0), np.arange(len(order))] < 0, -1.0, 1.0)
    return np.sqrt(values[order]), small
