"""How alike two maps of a gene are, beyond their correlation: structure, detection, spatial pattern.

Arrays are log1p, f32[n spots, g genes]; what cannot be scored is NaN in its place. docs/metrics.md names the
source of each.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.stats import rankdata

from bleep_cli.cohort.patches import morans_i
from bleep_cli.types import F32, F64, I64, Str
from bleep_train.metrics.per_gene import mse
from bleep_train.metrics.shifts import FDR, benjamini_hochberg, shift_p

MAP_METRICS = ("rmse", "ssim", "auc", "moran_measured", "moran_predicted", "p", "q")
SSIM_K1, SSIM_K2 = 0.01, 0.03
TOP = 50


def ssim(predicted: F32, measured: F32) -> F64:
    """Structural similarity of each gene's map, f64[g]; NaN where a side is missing.

    As in benchmarks of spatial expression (Li et al., Nature Methods 2022): over all spots at once, without
    windows, each side divided by its largest value, constants 0.01² and 0.03².
    """
    x, y = (_by_largest(side) for side in (predicted, measured))
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    both = (x * y).mean(axis=0) - x_mean * y_mean
    bright = (2 * x_mean * y_mean + SSIM_K1**2) / (x_mean**2 + y_mean**2 + SSIM_K1**2)
    return np.asarray(bright * (2 * both + SSIM_K2**2) / (x.var(axis=0) + y.var(axis=0) + SSIM_K2**2))


def _by_largest(side: F32) -> F64:
    largest = side.max(axis=0).astype(np.float64)
    return side / np.where(largest > 0, largest, 1.0)


def detection_auc(predicted: F32, measured: F32) -> F64:
    """Area under the ROC curve of the predicted value for "the gene is detected in this spot", f64[g].

    The chance that a spot with the gene has the larger prediction, ties counting half; 0.5 is chance. NaN for a
    gene that is missing, or detected in every spot or in none.
    """
    found = measured > 0
    positive = found.sum(axis=0)
    negative = len(found) - positive
    ranks = rankdata(predicted, axis=0, nan_policy="propagate")
    pairs = np.asarray(positive * negative, np.float64)
    wins = np.where(found, ranks, 0.0).sum(axis=0) - positive * (positive + 1) / 2
    missing = np.isnan(predicted).any(axis=0) | np.isnan(measured).any(axis=0) | (pairs == 0)
    return np.where(missing, np.nan, wins / np.where(pairs > 0, pairs, 1.0))


def map_metrics(predicted: F32, measured: F32, xy: F64, section: Str, tested: I64) -> dict[str, F64]:
    """Every metric of ``MAP_METRICS`` of every gene, f64[g] each; q is over the genes ``tested``, NaN elsewhere.

    ``xy`` f64[n, 2], ``section`` str[n].
    """
    p = shift_p(predicted, measured, xy, section)
    q = np.full(len(p), np.nan)
    q[tested] = benjamini_hochberg(p[tested])
    morans = [morans_i(side, xy, section) for side in (measured, predicted)]
    found = (
        np.sqrt(mse(predicted, measured)),
        ssim(predicted, measured),
        detection_auc(predicted, measured),
        *morans,
        p,
        q,
    )
    return dict(zip(MAP_METRICS, found, strict=True))


def map_scores(metrics: Mapping[str, F64 | F32], genes: I64) -> dict[str, float]:
    """What the metrics say over a set of genes: means of ``rmse``, ``ssim`` and ``auc``; ``moran_r``, ``svg_hits``
    and ``significant``.

    A gene that was not predicted counts as SSIM 0 and AUC 0.5, and not in the RMSE. ``moran_r``: Pearson r over
    genes between predicted and measured Moran's I. ``svg_hits``: of the 50 genes of largest measured I, the share
    among the 50 of largest predicted I. ``significant``: genes predicted at a false discovery rate of 5 %.
    """
    rmse, ssims, auc, measured, predicted, q = (
        np.asarray(metrics[name], np.float64)[genes] for name in MAP_METRICS if name != "p"
    )
    one_kind = np.isnan(auc) & ~np.isnan(predicted)  # detected everywhere or nowhere: no area to measure
    both = ~np.isnan(measured) & ~np.isnan(predicted)
    m, p = measured[both], predicted[both]
    varies = len(m) > 2 and m.std() > 1e-9 and p.std() > 1e-9
    best, found = (set(_largest(side)) for side in (measured, predicted))
    scored = np.nan_to_num(auc[~one_kind], nan=0.5)
    return {
        "rmse": float(np.nanmean(rmse)) if np.isfinite(rmse).any() else float("nan"),
        "ssim": float(np.nan_to_num(ssims, nan=0.0).mean()),
        "auc": float(scored.mean()) if len(scored) else float("nan"),
        "moran_r": float(np.corrcoef(m, p)[0, 1]) if varies else float("nan"),
        "svg_hits": len(best & found) / len(best) if best else float("nan"),
        "significant": int((q < FDR).sum()),
    }


def _largest(values: F64) -> list[int]:
    order = np.argsort(np.where(np.isnan(values), np.inf, -values), kind="stable")[:TOP]
    return [int(i) for i in order if not np.isnan(values[i])]
