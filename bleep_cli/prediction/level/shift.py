"""Predictions moved to the level of measured sections that are like the slide: of its donor, and its laboratory.

What a section of the reference was measured to have lies, gene by gene, above or below what the reference
predicts of it: depth, chemistry and the donor's own level differ. The mean difference over its spots, each
predicted without the spots around it, is added to every tile of another slide like it. It moves no tile against
another. What it gains stands in docs/growing.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.base.rows import dense_rows
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.choices import Aggregation, Key
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.prediction.excluded import index_without
from bleep_cli.prediction.expression.correct import offsets
from bleep_cli.prediction.expression.impute import Expression, weigh
from bleep_cli.prediction.expression.place import Along
from bleep_cli.prediction.layers import Found
from bleep_cli.types import F32, F64, I64, Bool, Neighbours, Str

SHRINK = 25  # spots that count as much as the belief that the reference is right about them
MOST_SPOTS = 2000
STRIPS = 5
LEVEL_SHIFT = "level_shift"
"""Column of a result's genes that says by how much its values were moved, log1p."""


def level_shift(
    bundle: Bundle,
    sections: Sequence[str],
    kept: Bool,
    expression: Expression,
    *,
    k: int,
    key: Key,
    aggregation: Aggregation,
    temperature: float,
    along: Along,
) -> F32:
    """f32[g] log1p: by how much the spots of ``sections`` lie above what the reference predicts of them, less for
    few spots.

    ``kept`` bool[n] are the reference's spots that have a part in the prediction, ``expression`` [n, g] theirs of
    the genes that are predicted, ``along`` what corrects predictions.
    """
    own = np.flatnonzero(np.isin(bundle.spots("section"), list(sections)) & kept)
    part = parts_of(bundle.spots("section")[own], bundle.xy_l0()[own])
    left = [_without(kept, own[part == name]) for name in np.unique(part)]
    k = min(k, *(int(others.sum()) for others in left))
    if k == 0:
        raise UsageError(f"{option('level_of')}: {bundle.name} holds no other spots to tell a level by")
    images, rows, index, weights, moved = bundle.embeddings("image"), [], [], [], []
    for name, others in zip(np.unique(part), left, strict=True):
        asked = evenly(own[part == name], MOST_SPOTS // len(left))
        found = index_without(bundle, key, others).search(images[asked], k)
        near = weigh(found, aggregation, temperature)
        rows.append(asked)
        index.append(found.index)
        weights.append(near)
        moved.append(offsets(images[asked], found, near, images))
    spots, total = np.concatenate(rows), np.zeros(expression.shape[1])
    neighbours = Neighbours(np.concatenate(index), np.empty((0, 0), np.float32))
    predicted = Found(neighbours, np.concatenate(weights), np.concatenate(moved), along, expression).blocks()
    for first, block in predicted:
        measured = _measured(expression, spots[first : first + len(block)])
        total += (measured - block).sum(axis=0, dtype=np.float64)
    return np.asarray(total / (len(spots) + SHRINK), np.float32)


def _without(kept: Bool, rows: I64) -> Bool:
    others = kept.copy()
    others[rows] = False
    return others


def told_of_level(asked: Sequence[str], gone: Sequence[str], shift: F32 | None, slide: str) -> Sequence[Finding]:
    """A note of how far predictions of a slide were moved."""
    if shift is None:
        return ()
    names = ", ".join(name for name in asked if name not in gone)
    what = (
        f"values are at the level of section {names}: moved by {np.abs(shift).mean():.2f} in the mean over genes, "
        f"by {shift.min():+.2f} to {shift.max():+.2f} (log1p)"
    )
    return (Finding("level-taken", what, slide),)


def parts_of(section: Str, xy_l0: F64) -> I64:
    """i64[m]: which spots are left out together: those of a section, or of a lone section those of a fifth of it,
    in strips across its longer side."""
    names, number = np.unique(section, return_inverse=True)
    if len(names) > 1:
        return np.asarray(number, np.int64)
    along = xy_l0[:, int(np.ptp(xy_l0, axis=0).argmax())]
    rank = np.argsort(np.argsort(along, kind="stable"))
    return np.asarray(rank * STRIPS // len(along), np.int64)


def evenly(rows: I64, most: int) -> I64:
    """At most ``most`` of them, at even distances."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64))]


def _measured(expression: Expression, rows: I64) -> F32:
    if isinstance(expression, StoredExpression):
        order = np.argsort(rows)
        values = np.empty((len(rows), expression.shape[1]), np.float32)
        values[order] = expression.read(rows[order])
        return values
    return dense_rows(expression[rows])
