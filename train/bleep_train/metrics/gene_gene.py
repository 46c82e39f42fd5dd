"""Gene-gene correlations of measured and predicted expression, and how far they agree (paper, Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bleep_cli.types import F32, F64, I64

MIN_MARKERS = 5  # fewer have less than ten pairs, whose r says nothing


def gene_gene(expression: F32) -> F64:
    """Pearson r between genes over spots, f64[g, g]; NaN for a gene that is constant or missing."""
    centred = expression - expression.mean(axis=0, dtype=np.float64)
    variance = (centred**2).mean(axis=0)
    varies = variance > 1e-12  # false for NaN
    scaled = np.where(varies, centred / np.sqrt(np.where(varies, variance, 1.0)), np.nan)
    return np.clip(scaled.T @ scaled / len(expression), -1.0, 1.0)


def structure_genes(sets: Mapping[str, I64]) -> tuple[str, I64]:
    """Whose correlations are compared: the markers where there are enough of them, else the 50 most variable."""
    name = "markers" if len(sets.get("markers", ())) >= MIN_MARKERS else "hvg50"
    return name, sets[name]


def structure_agreement(measured: F64, predicted: F64) -> dict[str, float]:
    """``r`` between the upper triangles of two gene-gene matrices f64[g, g], and ``mad``, their mean absolute
    difference, over the ``pairs`` that the measurement gives a correlation.

    A correlation that the prediction does not have (a gene predicted constant, or not at all) counts as 0. ``r``
    is NaN where either triangle is constant.
    """
    upper = np.triu_indices(len(measured), 1)
    m, p = measured[upper], np.nan_to_num(predicted[upper], nan=0.0)
    known = ~np.isnan(m)
    m, p = m[known], p[known]
    if not len(m):
        return {"r": float("nan"), "mad": float("nan"), "pairs": 0}
    varies = len(m) > 1 and m.std() > 1e-9 and p.std() > 1e-9
    r = float(np.corrcoef(m, p)[0, 1]) if varies else float("nan")
    return {"r": r, "mad": float(np.abs(m - p).mean()), "pairs": len(m)}
