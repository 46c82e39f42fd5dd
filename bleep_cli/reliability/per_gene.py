"""How well each gene of a reference is predicted on spots that were left out of it, as numbers per gene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.bundle.learned.per_gene import COLUMNS, QUANTILES
from bleep_cli.reliability.left_out import LeftOut
from bleep_cli.types import F32, F64, I64

DRAWS = 200
INTERVAL = (0.025, 0.975)
FEWEST = 3  # spots of a fold that a correlation is taken of
SEED = 0


def per_gene(left_out: LeftOut, neighbourhood: I64) -> dict[str, F32]:
    """f32[g] each by the names of :data:`COLUMNS`; NaN where there is no answer.

    ``neighbourhood`` i64[n] numbers the places whose spots are drawn together, over all sections.
    """
    draws = _draws(left_out.fold, neighbourhood[left_out.spots])
    out = {name: np.full(left_out.genes, np.nan, np.float32) for name in COLUMNS}
    for genes, predicted, _, measured in left_out.blocks():
        found = _scores(draws, predicted.astype(np.float64), measured.astype(np.float64))
        for name, values in found.items():
            out[name][genes] = values
    return out | {"heldout_rank": ranks(out["heldout_r"])}


@dataclass(frozen=True)
class _FoldDraws:
    """The spots of a fold, and how often each of their neighbourhoods is drawn."""

    rows: I64
    """i64[m], neighbourhood after neighbourhood."""
    starts: I64
    """i64[c] where in ``rows`` each begins."""
    times: F64
    """f64[1 + DRAWS, c]; once each in the first."""


def _draws(fold: np.ndarray, neighbourhood: I64) -> list[_FoldDraws]:
    rng, out = np.random.default_rng(SEED), []
    for name in np.unique(fold):
        rows = np.flatnonzero(fold == name)
        if len(rows) < FEWEST:
            continue
        rows = rows[np.argsort(neighbourhood[rows], kind="stable")]
        _, starts = np.unique(neighbourhood[rows], return_index=True)
        count = len(starts)
        drawn = rng.multinomial(count, np.full(count, 1 / count), DRAWS)
        out.append(_FoldDraws(rows, starts, np.concatenate([np.ones((1, count)), drawn])))
    return out


def _scores(draws: list[_FoldDraws], predicted: F64, measured: F64) -> dict[str, F32]:
    """By name, of one block f64[m, b] of genes."""
    genes = measured.shape[1]
    folds, total, ratio = np.zeros(genes), np.zeros((1 + DRAWS, genes)), np.zeros(genes)
    for fold in draws:
        r, (var_p, var_m) = _of_fold(fold, predicted[fold.rows], measured[fold.rows])
        varies = var_m > 1e-12
        folds += varies
        total += np.where(varies, r, 0)
        ratio += np.where(varies, var_p / np.where(varies, var_m, 1), 0)
    known = np.where(folds > 0, folds, np.nan)
    low, high = np.quantile(total[1:], INTERVAL, axis=0)
    values = {
        "heldout_r": total[0] / known,
        "heldout_r_low": low / known,
        "heldout_r_high": high / known,
        "heldout_mae": np.abs(predicted - measured).mean(axis=0),
        "heldout_variance_ratio": ratio / known,
        "measured_mean": measured.mean(axis=0),
        **dict(zip(QUANTILES, np.quantile(measured, list(QUANTILES.values()), axis=0), strict=True)),
    }
    return {name: np.asarray(value, np.float32) for name, value in values.items()}


def _of_fold(fold: _FoldDraws, p: F64, m: F64) -> tuple[F64, tuple[F64, F64]]:
    """r f64[1 + DRAWS, b] in every draw, 0 where a side is constant in it; variances f64[b] of both sides."""
    p, m = p - p.mean(axis=0), m - m.mean(axis=0)
    count = np.diff([*fold.starts, len(p)]).astype(np.float64)
    sums = [np.add.reduceat(values, fold.starts, axis=0) for values in (p, m, p * p, m * m, p * m)]
    n = (fold.times @ count)[:, None]
    sp, sm, spp, smm, spm = (fold.times @ some / n for some in sums)
    var_p, var_m = spp - sp**2, smm - sm**2
    norm = np.sqrt(np.maximum(var_p, 0) * np.maximum(var_m, 0))
    r = np.where(norm > 1e-10, (spm - sp * sm) / np.where(norm > 1e-10, norm, 1), 0.0)
    return r, (spp[0], smm[0])


def ranks(r: F32) -> F32:
    """1 for the best, in their order among equals; NaN stays NaN."""
    order = np.argsort(-r, kind="stable")  # NaN last
    out = np.empty(len(r), np.float32)
    out[order] = np.arange(1, len(r) + 1)
    out[np.isnan(r)] = np.nan
    return out
