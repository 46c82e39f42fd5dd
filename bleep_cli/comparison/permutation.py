"""Permutation tests of many genes at once, a row of values being one patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from math import comb

import numpy as np

from bleep_cli.types import F64, Bool

CONFIDENCE = 0.95
GENES_AT_ONCE = 256
"""Of a block of statistics f64[assignments, genes]: 20 MB at 10,000 assignments."""
_SAME = 1e-9  # relative: statistics that differ by rounding alone are ties
_FLAT = 1e-20  # variance of rounding, relative to the square of the values


@dataclass(frozen=True)
class Tested:
    """What a test says of g genes."""

    effect: F64
    """f64[g] mean of the second group less that of the first; of pairs, the mean difference."""
    low: F64
    """f64[g] lower end of the 95 % interval: of Welch's t between groups, of Student's t of differences."""
    high: F64
    p: F64
    """f64[g] two-sided."""
    q: F64
    """f64[g] p after Benjamini and Hochberg, over these genes."""
    assignments: int
    """How many were looked at, the observed one among them."""
    exact: bool
    """Whether these are all there are."""
    smallest_p: float
    """No gene can have a smaller one."""


def between_groups(values: F64, second: Bool, most: int, seed: int) -> Tested:
    """Patients f64[n, g] of two groups, ``second`` bool[n]; at least two in each.

    The statistic is Welch's t; all assignments of patients to groups of these sizes are looked at if they are
    ``most`` at most, else the observed one and ``most`` random ones.
    """
    from scipy.stats import t as student

    n, k = len(values), int(second.sum())
    assert 2 <= k <= n - 2
    exact = comb(n, k) <= most
    chosen = _all_choices(n, k) if exact else _random_choices(second, most, seed)
    rows = np.concatenate([second[None], chosen]).astype(np.float64)
    p = _p(values, lambda block: _welch(block, rows, k), skip=int(exact))  # all hold the observed one already
    a, b = values[~second], values[second]
    effect = b.mean(axis=0) - a.mean(axis=0)
    parts = np.stack([a.var(axis=0, ddof=1) / len(a), b.var(axis=0, ddof=1) / len(b)])
    total = parts.sum(axis=0)
    weights = np.array([[len(a) - 1], [len(b) - 1]])
    with np.errstate(invalid="ignore", divide="ignore"):
        freedom = np.where(total > 0, total**2 / (parts**2 / weights).sum(axis=0), 1.0)
    margin = student.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(total)
    smallest = (2 if 2 * k == n else 1) / comb(n, k) if exact else 1 / (most + 1)
    return Tested(
        effect,
        effect - margin,
        effect + margin,
        p,
        _adjusted(p),
        comb(n, k) if exact else most + 1,
        exact,
        smallest,
    )


def within_pairs(differences: F64, most: int, seed: int) -> Tested:
    """Differences f64[n, g] within n patients, at least two: their signs flipped.

    All 2ⁿ flips are looked at if they are ``most`` at most, else the observed signs and ``most`` random ones.
    """
    from scipy.stats import t as student

    n = len(differences)
    assert n >= 2
    exact = 2**n <= most
    if exact:
        signs = np.array(list(product((1.0, -1.0), repeat=n)))  # the observed ones first
    else:
        drawn = np.random.default_rng(seed).integers(0, 2, (most, n)) * 2.0 - 1
        signs = np.concatenate([np.ones((1, n)), drawn])
    p = _p(differences, lambda block: np.abs(signs @ block), skip=0)
    effect = differences.mean(axis=0)
    margin = student.ppf((1 + CONFIDENCE) / 2, n - 1) * differences.std(axis=0, ddof=1) / np.sqrt(n)
    smallest = 2 / 2**n if exact else 1 / (most + 1)
    return Tested(effect, effect - margin, effect + margin, p, _adjusted(p), len(signs), exact, smallest)


def _all_choices(n: int, k: int) -> Bool:
    choices = np.zeros((comb(n, k), n), bool)
    for row, places in enumerate(combinations(range(n), k)):
        choices[row, places] = True
    return choices


def _random_choices(second: Bool, most: int, seed: int) -> Bool:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.permuted(np.broadcast_to(second, (most, len(second))), axis=1), bool)


def _p(values: F64, statistic: Callable[[F64], F64], skip: int) -> F64:
    """f64[g]: the share of assignments whose statistic is at least the first one's, leaving out ``skip`` rows."""
    p = np.empty(values.shape[1])
    for first in range(0, values.shape[1], GENES_AT_ONCE):
        found = statistic(values[:, first : first + GENES_AT_ONCE])
        p[first : first + GENES_AT_ONCE] = (found[skip:] >= found[0] * (1 - _SAME)).mean(axis=0)
    return p


def _welch(values: F64, chosen: F64, k: int) -> F64:
    """|t| f64[assignments, g]."""
    n = len(values)
    scale = np.square(values).mean(axis=0)
    centred = values - values.mean(axis=0)
    inside, squares = chosen @ centred, chosen @ centred**2
    difference = np.abs(inside) * (1 / k + 1 / (n - k))
    of_second = np.clip(squares - inside**2 / k, 0, None) / (k - 1) / k
    of_first = np.clip((centred**2).sum(axis=0) - squares - inside**2 / (n - k), 0, None) / (n - k - 1) / (n - k)
    error = of_second + of_first
    flat = error <= _FLAT * scale
    with np.errstate(divide="ignore", invalid="ignore"):
        t = difference / np.sqrt(error)
    return np.where(flat, np.where(difference**2 <= _FLAT * scale, 0.0, np.inf), t)


def _adjusted(p: F64) -> F64:
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p), np.float64) if len(p) else p
