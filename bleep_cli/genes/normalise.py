"""Counts → log-normalised expression: one definition for training, references and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import I64

if TYPE_CHECKING:
    from scipy import sparse

TARGET_SUM = 10_000.0


def log1p_normalise(counts: sparse.csr_matrix, target_sum: float = TARGET_SUM) -> sparse.csr_matrix:
    """``log(1 + counts * target_sum / total of the spot)``, CSR f32[n, g] (scanpy's normalize_total, log1p).

    The total runs over *all* genes of the section, so it must be called before genes are left out.
    """
    from scipy import sparse

    total = np.asarray(counts.sum(axis=1)).ravel()
    scale = np.divide(target_sum, total, out=np.zeros_like(total, dtype=np.float64), where=total > 0)
    out = sparse.csr_matrix(sparse.diags(scale) @ counts, dtype=np.float32)
    np.log1p(out.data, out=out.data)
    return out


def detected(counts: sparse.csr_matrix) -> I64:
    """Number of spots in which each gene has a molecule: i64[g]."""
    return np.bincount(counts.indices[counts.data > 0], minlength=counts.shape[1]).astype(np.int64)
