"""How far the numbers would move with other spots: percentile intervals over resampled held-out spots.

Spots are drawn with replacement within a fold. Neighbouring spots resemble each other, so these intervals are
narrower than those over new patients; the spread over folds tells of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from zlib import crc32

import numpy as np

from bleep_cli.types import F32, F64, I64

RESAMPLES = 1000
LEVEL = 95.0
_BLOCK = 250


def resampled_pearson(predicted: F32, measured: F32, fold: str, resamples: int = RESAMPLES) -> F64:
    """Pearson r per gene of each resample, f64[resamples, g]; NaN where a side is constant or missing.

    ``predicted``, ``measured`` f32[m, g]. The draw depends on the name of the fold alone: all methods of a fold
    meet the same resamples, folds meet independent ones.
    """
    spots = len(measured)
    p, m = (side - side.mean(axis=0, dtype=np.float64) for side in (predicted, measured))
    draws = np.random.default_rng(crc32(fold.encode())).multinomial(spots, np.full(spots, 1 / spots), resamples)
    products = (p, m, p * p, m * m, p * m)
    out = np.empty((resamples, measured.shape[1]))
    for start in range(0, resamples, _BLOCK):
        weights = draws[start : start + _BLOCK] / spots
        p1, m1, pp, mm, pm = (weights @ side for side in products)
        p_var, m_var = pp - p1 * p1, mm - m1 * m1
        varies = (p_var > 1e-12) & (m_var > 1e-12)  # as ``pearson`` in ``per_gene.py``; false for NaN
        norm = np.sqrt(np.where(varies, p_var * m_var, 1.0))
        out[start : start + _BLOCK] = np.where(varies, (pm - p1 * m1) / norm, np.nan)
    return out


def resampled_means(r: F64, sets: Mapping[str, I64]) -> dict[str, F64]:
    """The mean of each gene set in each resample, f64[resamples]; a gene without r counts as 0."""
    filled = np.nan_to_num(r, nan=0.0)
    return {name: filled[:, rows].mean(axis=1) for name, rows in sets.items() if len(rows)}


def interval(samples: F64) -> tuple[float, float]:
    """The percentile interval of resampled values."""
    low, high = np.percentile(samples, _ends())
    return float(low), float(high)


def gene_intervals(r: F64) -> tuple[F64, F64]:
    """Lower and upper end for each gene, f64[g]; NaN for a gene that no resample gives an r."""
    known = ~np.isnan(r).all(axis=0)
    ends = np.full((2, r.shape[1]), np.nan)
    ends[:, known] = np.nanpercentile(r[:, known], _ends(), axis=0)
    return ends[0], ends[1]


def _ends() -> tuple[float, float]:
    return (100 - LEVEL) / 2, (100 + LEVEL) / 2
