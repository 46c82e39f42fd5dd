"""How patchy maps of spots are: Moran's I inside sections."""

from __future__ import annotations

import numpy as np

from bleep_cli.cohort.pitch import pitch
from bleep_cli.types import F32, F64, I64, Str

NEXT = 1.5  # pitches: six neighbours on a hexagonal array, eight on a square one


def parts_of(section: Str) -> list[I64]:
    """Positions i64 of the spots of each section, sections in order of appearance; ``section`` str[n]."""
    return [np.flatnonzero(section == name) for name in dict.fromkeys(section.tolist())]


def morans_i(expression: F32, xy: F64, section: Str) -> F64:
    """Moran's I of each gene, f64[g], inside sections; NaN for a gene that is constant or missing.

    Neighbours lie within 1.5 pitches, each spot's weights sum to one (Moran 1950; row-standardised as in squidpy).
    """
    from scipy import sparse
    from scipy.spatial import KDTree

    product = np.zeros(expression.shape[1])
    square, neighboured = np.zeros_like(product), 0
    for rows in parts_of(section):
        z = expression[rows].astype(np.float64)
        z -= z.mean(axis=0)
        pairs = KDTree(xy[rows]).query_pairs(NEXT * pitch(xy[rows]), output_type="ndarray")
        both = np.concatenate([pairs, pairs[:, ::-1]])
        weights = sparse.csr_matrix((np.ones(len(both)), both.T), (len(rows), len(rows)))
        degree = np.asarray(weights.sum(axis=1)).ravel()
        lag = (weights @ z) / np.maximum(degree, 1)[:, None]
        product += (z * lag).sum(axis=0)
        square += (z**2).sum(axis=0)
        neighboured += int((degree > 0).sum())
    varies = (square > 1e-12 * len(xy)) & (neighboured > 0)
    return np.where(varies, len(xy) / max(neighboured, 1) * product / np.where(varies, square, 1.0), np.nan)
