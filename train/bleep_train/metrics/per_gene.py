"""How well predicted expression agrees with measured expression, gene by gene.

All arrays are log1p, ``f32[n spots, g genes]``. A gene that cannot be scored (constant, or not measured in the
section) is NaN in its place: nothing is dropped before indexing, and NaNs are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bleep_cli.types import F32, F64, I64, Bool

GENE_METRICS = ("pearson", "spearman", "mse", "variance_ratio")


def pearson(predicted: F32, measured: F32) -> F64:
    """Pearson r over spots per gene, f64[g]; NaN where either side is constant."""
    p = predicted.astype(np.float64) - predicted.mean(axis=0, dtype=np.float64)
    m = measured.astype(np.float64) - measured.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((p**2).sum(axis=0) * (m**2).sum(axis=0))
    flat = (p**2).mean(axis=0) < 1e-12
    flat |= (m**2).mean(axis=0) < 1e-12
    return np.where(flat, np.nan, (p * m).sum(axis=0) / np.where(flat, 1.0, norm))


def spearman(predicted: F32, measured: F32) -> F64:
    """Spearman rank correlation over spots per gene, f64[g], ties at their mean rank; NaN where r is."""
    from scipy.stats import rankdata

    ranks = [rankdata(side, axis=0, nan_policy="propagate") for side in (predicted, measured)]
    return np.where(np.isnan(pearson(predicted, measured)), np.nan, pearson(*ranks))


def mse(predicted: F32, measured: F32) -> F64:
    """Mean squared error over spots per gene, f64[g], in log1p units; NaN where either side is missing."""
    error: F64 = (predicted.astype(np.float64) - measured) ** 2
    return np.asarray(error.mean(axis=0))


def variance_ratio(predicted: F32, measured: F32) -> F64:
    """Predicted variance / measured variance per gene, f64[g]; NaN where the measured one is zero."""
    m = measured.var(axis=0, dtype=np.float64)
    return np.where(m > 1e-12, predicted.var(axis=0, dtype=np.float64) / np.where(m > 1e-12, m, 1.0), np.nan)


def per_gene(predicted: F32, measured: F32) -> dict[str, F64]:
    """Every metric of every gene, f64[g] each: ``pearson``, ``spearman``, ``mse``, ``variance_ratio``."""
    metrics = (pearson, spearman, mse, variance_ratio)
    return {name: of(predicted, measured) for name, of in zip(GENE_METRICS, metrics, strict=True)}


def measured_sets(measured: F32, sets: Mapping[str, I64]) -> dict[str, I64]:
    """The same sets without the genes that were not measured (NaN) in some of the spots of f32[n, g]."""
    there: Bool = ~np.asarray(np.isnan(measured).any(axis=0))
    return {name: rows[there[rows]] for name, rows in sets.items()}


def score(predicted: F32, measured: F32, sets: Mapping[str, I64]) -> dict[str, float]:
    """Means of r over each gene set, and over ``all`` the median variance ratio, the mean squared error and how
    many genes had no r; ``spearman`` is the mean over ``hvg50``, where there is that set.

    A gene without r counts as 0; the mean squared error is over the genes that have one. A gene that was not
    measured (NaN) is in no mean; ``n_absent`` counts those of ``all``.
    """
    absent, sets = len(sets["all"]), measured_sets(measured, sets)
    r = pearson(predicted, measured)
    out: dict[str, float] = {name: _mean(r[rows]) for name, rows in sets.items()}
    if "hvg50" in sets:
        rows = sets["hvg50"]
        out["spearman"] = _mean(spearman(predicted[:, rows], measured[:, rows]))
    ratio = variance_ratio(predicted, measured)[sets["all"]]
    out["variance_ratio"] = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else float("nan")
    error = mse(predicted, measured)[sets["all"]]
    out["mse"] = float(np.nanmean(error)) if np.isfinite(error).any() else float("nan")
    out["n_spots"] = len(measured)
    out["n_nan"] = int(np.isnan(r[sets["all"]]).sum())
    out["n_absent"] = absent - len(sets["all"])
    return out


def mean_score(predictions: Sequence[F32], measured: F32, sets: Mapping[str, I64]) -> dict[str, float]:
    """The means of the scores of several predictions of the same spots; counts stay whole numbers."""
    scores = [score(predicted, measured, sets) for predicted in predictions]
    return {key: type(scores[0][key])(np.mean([s[key] for s in scores])) for key in scores[0]}


def _mean(r: F64) -> float:
    """Mean over genes; a gene without r counts as 0, since nothing was predicted of it."""
    return float(np.nan_to_num(r, nan=0.0).mean()) if len(r) else float("nan")
