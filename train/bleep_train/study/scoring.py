"""One way to score what a method predicts of a fold, and the row that says so: a study's, and a bundle's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import numpy as np

from bleep_cli.types import F32, F64
from bleep_train.methods.folds import FoldData
from bleep_train.methods.simple import shuffles
from bleep_train.metrics.bootstrap import gene_intervals, interval, resampled_means, resampled_pearson
from bleep_train.metrics.per_gene import mean_score, measured_sets, pearson, per_gene
from bleep_train.metrics.shifts import shifts
from bleep_train.study.saved import SHUFFLED

RESAMPLED = "resampled_"
WITHIN = "hvg50_within"
ENDS = ("pearson_low", "pearson_high")
TOP = 5


class Job(TypedDict):
    """What was run: one method on one fold with one seed."""

    fold: str
    method: str
    seed: int
    config: NotRequired[str]
    """Fingerprint of a study's configuration and markers."""
    data: NotRequired[str]
    """Fingerprint of its sections."""
    protocol: NotRequired[str]
    of: NotRequired[str]
    """The method whose prediction was shuffled or shifted."""
    file: NotRequired[str]
    """Of a method that is a file of predictions: which content, read as what."""


class MethodRow(TypedDict):
    """What came out: a line of a study's ``results.jsonl``."""

    job: Job
    scores: dict[str, float]
    """``score`` in ``metrics/per_gene.py``, and r over ``hvg50`` inside the held-out sections."""
    intervals: dict[str, tuple[float, float]]
    """95 % of resampled spots, of the mean r of each gene set; none of shuffled and shifted ones."""
    top: list[tuple[str, float]]
    """The genes with the largest r, and that r."""
    clusters: NotRequired[dict[str, float]]
    """``cluster_agreement`` in ``metrics/clusters.py``."""
    told: NotRequired[list[str]]
    """What is to be said of how a file of predictions was read."""
    genegene: NotRequired[dict[str, Any]]
    """``structure_agreement`` in ``metrics/gene_gene.py``, and the ``genes`` it is of."""


@dataclass(frozen=True)
class Scored:
    """A prediction, scored; see :class:`MethodRow`."""

    scores: dict[str, float]
    """Means over gene sets."""
    intervals: dict[str, tuple[float, float]]
    """Of these means."""
    top: list[tuple[str, float]]
    """Its best genes."""
    arrays: dict[str, F64]
    """f64[g] by metric of a gene, and f64[resamples] of each gene set's mean r under ``RESAMPLED`` + its name"""

    def row(self, job: Job) -> MethodRow:
        """What there is to keep of it."""
        return {"job": job, "scores": self.scores, "intervals": self.intervals, "top": self.top}


def null_predictions(name: str, predicted: F32, data: FoldData) -> list[F32]:
    """A prediction f32[m, g] given to other spots in some twenty ways: ``shuffled``, or ``shifted`` as a map."""
    return shuffles(predicted) if name == SHUFFLED else shifts(predicted, data.xy, data.section)


def score_fold(data: FoldData, predictions: Sequence[F32], *, with_intervals: bool) -> Scored:
    """The scores of one prediction f32[m, g]; of several (shuffles), their means.

    Raises ``ReferenceError`` where none of the genes to be scored was measured in the held-out spots.
    """
    there = data.measured_sets
    scores = mean_score(predictions, data.test_y, data.sets)
    scores[WITHIN] = float(np.mean([_within_sections(data, p) for p in predictions]))
    genes = [per_gene(p, data.test_y) for p in predictions]
    arrays = {name: np.mean([g[name] for g in genes], axis=0) for name in genes[0]}
    rows = data.sets["all"]
    r = arrays["pearson"][rows]
    best = np.argsort(np.where(np.isnan(r), np.inf, -r), kind="stable")[:TOP]
    top = [(str(data.symbols[rows[i]]), float(r[i])) for i in best if not np.isnan(r[i])]
    intervals: dict[str, tuple[float, float]] = {}
    if with_intervals:
        resampled = resampled_pearson(predictions[0], data.test_y, data.name)
        arrays |= dict(zip(ENDS, gene_intervals(resampled), strict=True))
        means = resampled_means(resampled, there)
        arrays |= {RESAMPLED + name: values for name, values in means.items()}
        intervals = {name: interval(values) for name, values in means.items()}
    return Scored(scores, intervals, top, arrays)


def _within_sections(data: FoldData, predicted: F32) -> float:
    """Mean over the held-out sections of the mean r over ``hvg50`` inside each.

    Over several sections at once, r also rewards telling one section from another.
    """
    ends = np.cumsum([len(s.barcodes) for s in data.held_out])[:-1]
    sides = (np.split(side, ends) for side in (predicted, data.test_y))
    found = []
    for p, m in zip(*sides, strict=True):
        rows = measured_sets(m, data.sets)["hvg50"]
        found.append(np.nan_to_num(pearson(p[:, rows], m[:, rows])).mean())
    return float(np.mean(found))
