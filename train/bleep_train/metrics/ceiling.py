"""How reproducible the measurement itself is: the r that no prediction can be expected to pass.

The molecules of each spot are dealt to two halves at random, each molecule to either with equal chance (binomial
thinning). The halves are what two shallower experiments on the same tissue would have counted, so their r,
corrected for the halved depth (Spearman 1910, Brown 1910), is the reliability of the measurement; a prediction of
the true mean expression would reach its square root.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import F32, F64, I64
from bleep_train.metrics.per_gene import pearson

if TYPE_CHECKING:
    from scipy import sparse

SPLITS = 5


def reliability(
    counts: Sequence[sparse.csr_matrix], columns: Sequence[I64], target_sum: float, splits: int = SPLITS
) -> F64:
    """Reliability of the log1p measurement of each gene over the spots of all sections, f64[g].

    ``counts`` CSR[n, G] of each section, whole numbers; ``columns`` i64[g] where the genes stand in it, -1 for one
    that it does not measure. Mean over ``splits`` random halvings; NaN for a gene that a section does not measure,
    or that never varies in both halves.
    """
    rng = np.random.default_rng(0)
    there = np.all(np.stack(columns) >= 0, axis=0)
    out = np.full(len(there), np.nan)
    found = []
    for _ in range(splits):
        halves = [_halves(c, at[there], target_sum, rng) for c, at in zip(counts, columns, strict=True)]
        found.append(pearson(*(np.concatenate(side) for side in zip(*halves, strict=True))))
    stacked = np.stack(found)
    known = np.isfinite(stacked).any(axis=0)
    r = np.full(stacked.shape[1], np.nan)
    r[known] = np.nanmean(stacked[:, known], axis=0)
    out[there] = 2 * r / (1 + r)
    return out


def _halves(
    counts: sparse.csr_matrix, columns: I64, target_sum: float, rng: np.random.Generator
) -> tuple[F32, F32]:
    """Both halves as log1p f32[n, g]. Of the genes that are not asked for only their total is dealt."""
    chosen = np.asarray(counts[:, columns].toarray(), np.int64)
    total = np.rint(np.asarray(counts.sum(axis=1))).astype(np.int64).ravel()
    rest = total - chosen.sum(axis=1)
    first, first_rest = rng.binomial(chosen, 0.5), rng.binomial(rest, 0.5)
    sides = ((first, first_rest), (chosen - first, rest - first_rest))
    depths = [side.sum(axis=1) + other for side, other in sides]
    first_half, other_half = (
        np.log1p(side * (target_sum / np.maximum(depth, 1))[:, None]).astype(np.float32)
        for (side, _), depth in zip(sides, depths, strict=True)
    )
    return first_half, other_half


def ceiling_scores(of_genes: F64 | F32, rows: I64) -> dict[str, float]:
    """Means over genes of ``reliability`` and ``ceiling``, its square root; a gene without one counts as 0."""
    known = np.nan_to_num(np.asarray(of_genes, np.float64)[rows], nan=0.0)
    if not len(known):
        return {"reliability": float("nan"), "ceiling": float("nan")}
    return {"reliability": float(known.mean()), "ceiling": float(np.sqrt(known.clip(min=0.0)).mean())}
