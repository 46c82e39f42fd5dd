"""Which fields of view, how many components and what penalty: chosen on spots that the fit has not seen.

Held out are donors where there are several, else sections, else blocks of one section, a group at a time. A
penalty that is best on the cohort's own sections is greedy for the next patient, whose slides differ more than
these do among each other. So the strongest is taken that is within one standard error of the best; of a few groups
that error is a guess, and never taken for less than a twentieth of the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bleep_cli.fitting.cca import Table, decompose, fit_heads
from bleep_cli.prediction.expression.impute import impute_blocks
from bleep_cli.reference.parts import repeat_by_section
from bleep_cli.reliability.groups import By, groups_of
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, F64, I64, Section

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
COMPONENTS = (20, 40)
LEAST_ERROR = 0.05  # of the best score
MOST_TRAINING, MOST_TEST = 6000, 1500  # spots of a fold that a choice looks at
HVG = 50


@dataclass(frozen=True)
class Choice:
    """What was chosen, and on what."""

    fields: int
    """How many fields of view, from the smallest."""
    components: int
    penalty: float
    by: By
    """What was held out."""
    groups: int
    score: float
    """Mean r of what was chosen on held-out spots: half over the 50 most variable genes, half over the panel."""
    best: float
    """The best score of all."""
    error: float
    """Standard error of the best."""

    def attrs(self) -> dict[str, Any]:
        """As the attributes of a bundle state it."""
        return {
            "chosen_by": f"leave one {self.by} out",
            "groups": self.groups,
            "penalty": self.penalty,
            "components": self.components,
            "score": round(self.score, 4),
            "best_score": round(self.best, 4),
            "standard_error": round(self.error, 4),
        }


def held_out_groups(sections: Sequence[Section]) -> tuple[By, I64]:
    """What is held out, and the group i64[n] of every spot, in the order of the sections."""
    donor, section = (
        repeat_by_section(sections, names) for names in ([s.donor for s in sections], [s.id for s in sections])
    )
    return groups_of(donor, section, np.concatenate([s.xy_l0 for s in sections]))


def choose(
    features: Sequence[Table],
    expression: F32,
    by: By,
    group: I64,
    k: int,
    *,
    penalties: Sequence[float] = PENALTIES,
    components: Sequence[int] = COMPONENTS,
) -> Choice:
    """``features`` f32[n, d] by number of fields, fewest first; ``expression`` f32[n, p] log1p on the panel."""
    names = np.unique(group)
    components = [c for c in components if c <= min(expression.shape)] or [min(expression.shape)]
    scores = np.zeros((len(names), len(features), len(components), len(penalties)))
    for i, name in enumerate(names):
        inside = some(np.flatnonzero(group != name), MOST_TRAINING)
        outside = some(np.flatnonzero(group == name), MOST_TEST)
        fold = _Fold(expression[inside], expression[outside], k, max(components))
        for f, x in enumerate(features):
            image_side = decompose(x[inside])
            for c, count in enumerate(components):
                for p, penalty in enumerate(penalties):
                    image, spot = fit_heads(image_side, fold.side.leading(count), penalty)
                    scores[i, f, c, p] = fold.score(image(x[outside]), spot(fold.training))
    mean = scores.mean(axis=0)
    best = int(mean.argmax())
    f, c, _ = (int(at) for at in np.unravel_index(best, mean.shape))
    top = scores.reshape(len(names), -1)[:, best]
    error = float(top.std(ddof=1) / np.sqrt(len(names)))
    p = int(np.flatnonzero(mean[f, c] >= mean.max() - max(error, LEAST_ERROR * mean.max()))[-1])
    return Choice(
        f + 1, components[c], penalties[p], by, len(names), float(mean[f, c, p]), float(mean.max()), error
    )


def some(rows: I64, most: int) -> I64:
    """All rows, or ``most`` of them at even distances."""
    return rows if len(rows) <= most else rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


class _Fold:
    """Spots to fit and spots to score, whose own expression is looked at only to score."""

    def __init__(self, training: F32, measured: F32, k: int, components: int) -> None:
        self.training, self._measured, self._k = training, measured, k
        self.side = decompose(training, components)
        self._hvg = np.argsort(-training.var(axis=0, dtype=np.float64), kind="stable")[:HVG]

    def score(self, queries: F32, keys: F32) -> float:
        """Mean r of what the ``k`` nearest training spots say, half of the 50 most variable genes, half of all."""
        found = ExactIndex(unit(keys)).search(unit(queries), self._k)
        weights = np.full(found.index.shape, 1 / found.index.shape[1], np.float32)
        blocks = impute_blocks(found, weights, self.training)
        r = _pearson(np.concatenate([block for _, block in blocks]), self._measured)
        return float((r[self._hvg].mean() + r.mean()) / 2)


def _pearson(predicted: F32, measured: F32) -> F64:
    """r over spots per gene, f64[g]; 0 where a side is constant."""
    p = predicted - predicted.mean(axis=0, dtype=np.float64)
    m = measured - measured.mean(axis=0, dtype=np.float64)
    norm = np.sqrt((p**2).sum(axis=0) * (m**2).sum(axis=0))
    return np.asarray(np.where(norm > 1e-12, (p * m).sum(axis=0) / np.where(norm > 1e-12, norm, 1), 0.0))
