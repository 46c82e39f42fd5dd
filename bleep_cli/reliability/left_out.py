"""What a reference predicts of its own spots when these are left out of it.

A donor at a time, else a section, else a part of the section: the others' spots are searched, averaged, corrected
and projected as those of the whole reference are for a slide. Towers that were fitted here are fitted again
without what is left out; towers that came from elsewhere have seen it, or may have, and that is stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import PickedColumns, PickedRows, Rows, SpooledRows
from bleep_cli.bundle.contents import BundleArrays, BundleInfo
from bleep_cli.bundle.learned.components import Scores, fit_scores
from bleep_cli.bundle.learned.slope import expression_slope
from bleep_cli.choices import PLACED
from bleep_cli.prediction.expression.correct import offsets
from bleep_cli.prediction.expression.impute import impute_blocks, weigh
from bleep_cli.prediction.expression.place import Along, placed
from bleep_cli.reliability.expression import GeneBlocks
from bleep_cli.reliability.groups import By, groups_of
from bleep_cli.search.exact import ExactIndex
from bleep_cli.types import F32, I64, Bool, Neighbours, Progress, no_progress

Towers = Literal["left out", "seen"]
"""Whether the towers were fitted without the spots that they are tried on."""
Refit = Callable[[Bool], tuple[F32, F32]]
"""From bool[n], the spots that may be looked at, to unit vectors f32[n, d] of all n spots' tiles and of their
expression, by towers fitted to those alone."""
MOST_SPOTS = 20_000
MOST_FOLDS = 10
SEED = 0


@dataclass(frozen=True)
class Predicted:
    """m spots of a fold, log1p f32[m, b] each."""

    value: F32
    """What a prediction would be."""
    mean: F32
    """Of the neighbours, by the weights that they are averaged with."""
    spread: F32
    """The neighbours' standard deviation, by the same weights."""


@dataclass(frozen=True)
class Fold:
    """One group left out: m of its spots, predicted from all spots of the others."""

    at: I64
    """i64[m] places in ``LeftOut.spots``."""
    inside: I64
    """i64[r] rows of the reference that are not left out."""
    neighbours: Neighbours
    """Of each of the m spots, by place in ``inside``."""
    weights: F32
    """f32[m, k]."""
    offset: F32 | None
    """f32[m, d] where predictions are corrected."""
    images: F32 | None
    """f32[r, d] the vectors of ``inside``, where predictions are corrected."""
    scores: Rows | None = None
    """f32[r, c] of ``inside`` on its components, where predictions are projected; kept on the disk."""
    penalty: float = 0.0
    """Per spot, of what is told by them."""

    def predicted(self, known: F32) -> Predicted:
        """From the expression f32[r, b] of ``inside``."""
        mean = self._averaged(known)
        spread = np.sqrt(np.maximum(self._averaged(known**2) - mean**2, 0))
        if self.offset is None or self.images is None:
            return Predicted(mean, mean, spread)
        along: Along
        if self.scores is not None:
            scores = np.asarray(self.scores[: len(known)], np.float32)
            along = Scores(scores, self.penalty).tell(self.images, known)
        else:
            along = expression_slope(self.images, known)
        blocks = placed([(0, mean)], self.neighbours, self.weights, self.offset, along)
        return Predicted(np.concatenate([block for _, block in blocks]), mean, spread)

    def _averaged(self, known: F32) -> F32:
        return np.concatenate([block for _, block in impute_blocks(self.neighbours, self.weights, known)])


@dataclass(frozen=True)
class LeftOut:
    """m spots of a reference, predicted as if they and all of their group had not been in it."""

    spots: I64
    """i64[m] rows of the reference, ascending; all, or an even draw of many."""
    fold: NDArray[np.int32]
    """i32[m] which fold each was left out in, from 0."""
    by: By
    """What a fold leaves out."""
    towers: Towers
    genes: int
    """How many g."""
    folds: tuple[Fold, ...] = field(repr=False)
    _expression: GeneBlocks = field(repr=False)

    def values(self) -> Iterator[tuple[slice, F32]]:
        """Yields ``(genes, f32[n, b])``, log1p of all n spots of the reference, until every gene has come once."""
        for genes in self._expression.slices():
            yield genes, self._expression.read(genes)

    def blocks(self) -> Iterator[tuple[slice, F32, F32, F32]]:
        """Yields ``(genes, predicted f32[m, b], spread f32[m, b], measured f32[m, b])`` until every gene has come
        once, all log1p; can be called again.

        ``predicted`` is what a prediction would be, ``spread`` the standard deviation of the neighbours'
        expression, by the weights that they are averaged with.
        """
        for genes, values in self.values():
            predicted = np.empty((len(self.spots), values.shape[1]), np.float32)
            spread = np.empty_like(predicted)
            for fold in self.folds:
                found = fold.predicted(values[fold.inside])
                predicted[fold.at], spread[fold.at] = found.value, found.spread
            yield genes, predicted, spread, values[self.spots]


def leave_out(
    arrays: BundleArrays,
    info: BundleInfo,
    refit: Refit | None = None,
    *,
    most: int = MOST_SPOTS,
    progress: Progress = no_progress,
) -> LeftOut:
    """Predicts the spots of a reference, each fold from the others, with the reference's own k, key and
    aggregation.

    ``refit`` fits the towers anew to the spots it is shown; without it those of the reference are taken, which
    have seen all. At most ``most`` spots are predicted, and there are at most ten folds: of more donors, every
    tenth is left out together.
    """
    by, group = groups_of(arrays.donor, arrays.section, arrays.xy_l0)
    group = group % MOST_FOLDS
    spots = drawn(group, most)
    fold_of = group[spots].astype(np.int32)
    names = np.unique(group)
    folds = []
    panel = (
        SpooledRows(PickedColumns(arrays.expression, arrays.panel)) if info.aggregation == "projected" else None
    )
    for done, name in enumerate(names):
        progress("left out", done, len(names))
        inside = group != name
        vectors = refit(inside) if refit is not None else (arrays.image_embeddings, arrays.expression_embeddings)
        fold = _fold(np.flatnonzero(fold_of == name), spots, np.flatnonzero(inside), vectors, info)
        folds.append(fold if panel is None else _with_scores(fold, panel))
    progress("left out", len(names), len(names))
    towers: Towers = "seen" if refit is None else "left out"
    expression = GeneBlocks(arrays.expression)
    return LeftOut(spots, fold_of, by, towers, expression.shape[1], tuple(folds), expression)


def drawn(group: I64, most: int) -> I64:
    """Rows of every group, in proportion to its size, ``most`` of all at most; ascending."""
    if len(group) <= most:
        return np.arange(len(group))
    rng = np.random.default_rng(SEED)
    rows = (rng.permutation(np.flatnonzero(group == name)) for name in np.unique(group))
    return np.sort(np.concatenate([some[: max(1, len(some) * most // len(group))] for some in rows]))


def _fold(at: I64, spots: I64, inside: I64, vectors: tuple[F32, F32], info: BundleInfo) -> Fold:
    images, expression = vectors
    keyed = (images if info.key == "image" else expression)[inside]
    queries = images[spots[at]]
    k = 1 if info.aggregation == "simple" else info.k
    found = ExactIndex(keyed).search(queries, min(k, len(inside)))
    weights = weigh(found, info.aggregation)
    if info.aggregation not in PLACED:
        return Fold(at, inside, found, weights, None, None)
    known = images[inside]
    return Fold(at, inside, found, weights, offsets(queries, found, weights, known), known)


def _with_scores(fold: Fold, panel: Rows) -> Fold:
    fitted = fit_scores(PickedRows(panel, fold.inside))
    return replace(fold, scores=SpooledRows(fitted.values), penalty=fitted.penalty)
