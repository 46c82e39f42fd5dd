"""Shifted maps: what a prediction scores that has the right texture in the wrong place.

Shuffling spots destroys a map's smoothness, and smooth maps correlate by chance far more widely than noise does.
Here the whole map is moved over its section instead: shifted on a torus, perhaps mirrored, each spot taking the
value of the spot nearest to where it came from (toroidal shifts: Upton & Fingleton, *Spatial Data Analysis by
Example* 1, 1985). The same maps give each gene a p-value, and these a false discovery rate (Benjamini & Hochberg
1995).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bleep_cli.cohort.patches import parts_of
from bleep_cli.cohort.pitch import pitch
from bleep_cli.types import F32, F64, I64, Str
from bleep_train.metrics.per_gene import pearson

SHIFTS = 20  # of the row beside the shuffled one, as many as there are permutations
NULL_SHIFTS = 100  # of the p-values: mean and spread of each gene's null
NEAR = 5.0  # pitches; a shorter shift would leave much of the map in its place
FDR = 0.05


def shifted_rows(xy: F64, section: Str, count: int, seed: int = 0) -> Iterator[I64]:
    """``count`` times: the spot whose prediction each spot is given, i64[n], within its section.

    ``xy`` f64[n, 2] in any unit, ``section`` str[n].
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    parts = parts_of(section)
    trees = [cKDTree(xy[rows]) for rows in parts]
    for _ in range(count):
        source = np.arange(len(xy))
        for rows, tree in zip(parts, trees, strict=True):
            source[rows] = rows[tree.query(_moved(xy[rows], rng))[1]]
        yield source


def _moved(xy: F64, rng: np.random.Generator) -> F64:
    """Positions f64[n, 2] mirrored at random, then shifted on the torus of their bounding box."""
    low, step = xy.min(axis=0), pitch(xy)
    period = xy.max(axis=0) - low + step
    mirrored = rng.random(2) < 0.5
    least = min(NEAR * step, float(period.max()) / 4)
    shift = rng.random(2) * period
    while not mirrored.any() and np.hypot(*np.minimum(shift, period - shift)) < least:
        shift = rng.random(2) * period
    inside = np.where(mirrored, period - step - (xy - low), xy - low)
    return np.asarray(low + (inside + shift) % period)


def shifts(predicted: F32, xy: F64, section: Str) -> list[F32]:
    """A prediction f32[m, g] moved over its sections, in ``SHIFTS`` ways."""
    return [predicted[rows] for rows in shifted_rows(xy, section, SHIFTS)]


def shift_p(predicted: F32, measured: F32, xy: F64, section: Str, count: int = NULL_SHIFTS) -> F64:
    """One-sided p of each gene's Pearson r against the r of its shifted maps, f64[g]; NaN where there is no r.

    Fisher's z of the shifted maps gives mean and spread of the null, in which both sides keep their
    autocorrelation; Student's t with ``count`` - 1 degrees of freedom reaches further than so few shifts could.
    """
    from scipy.stats import t

    r = pearson(predicted, measured)
    p, m = ((side - side.mean(axis=0, dtype=np.float64)).astype(np.float32) for side in (predicted, measured))
    n = len(m)
    m_std = np.sqrt(np.einsum("ng,ng->g", m, m) / n)
    null = np.empty((count, len(r)))
    for i, rows in enumerate(shifted_rows(xy, section, count, seed=1)):
        moved = p[rows]
        mean = moved.mean(axis=0)
        spread = np.einsum("ng,ng->g", moved, moved) / n - mean**2
        known = (spread > 1e-12) & (m_std > 1e-6)
        norm = np.sqrt(np.where(known, spread, 1.0)) * np.where(known, m_std, 1.0)
        null[i] = np.where(known, np.einsum("ng,ng->g", moved, m) / n / norm, 0.0)
    z = np.arctanh(np.clip(null, -0.999999, 0.999999))
    spread = z.std(axis=0, ddof=1)
    known = ~np.isnan(r) & (spread > 1e-9)
    distance = np.arctanh(np.clip(np.nan_to_num(r), -0.999999, 0.999999)) - z.mean(axis=0)
    far = distance / np.where(known, spread * np.sqrt(1 + 1 / count), 1.0)
    return np.where(known, t.sf(far, count - 1), np.nan)


def benjamini_hochberg(p: F64) -> F64:
    """q of each p, f64[g]: the least false discovery rate that finds it. NaN counts as p = 1 and stays NaN."""
    filled = np.nan_to_num(p, nan=1.0)
    order = np.argsort(filled, kind="stable")
    scaled = filled[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(scaled[::-1])[::-1].clip(max=1.0)
    return np.where(np.isnan(p), np.nan, q)
