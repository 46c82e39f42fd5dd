"""A bundle evaluated: what it predicts of held-out sections through the runtime, scored as a study's method is.

Each held-out section is a fold that was trained on the bundle's own sections. The method ``bleep`` is what ``bleep
predict --at`` does: the bundle is opened, its ONNX tower embeds the tiles, its index finds the neighbours. Beside
it stand ridge on the frozen features, the mean and shuffled images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.json_file import write_json
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.genes.columns import measured_log1p
from bleep_cli.genes.names import plain_names
from bleep_cli.prediction.impute import DENSE_BYTES
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import F32, I64, Progress, Section, no_progress
from bleep_train.methods.by_name import BLEEP, UNTRAINED
from bleep_train.methods.folds import FoldData, Part, dense_columns
from bleep_train.methods.simple import shuffles
from bleep_train.metrics.gene_sets import GeneSets, pick_gene_sets
from bleep_train.metrics.tables import Table, write_tables
from bleep_train.study.bundle_features import BundleFeatures, features_of
from bleep_train.study.gene_table import GeneScores, write_gene_table
from bleep_train.study.saved import SHUFFLED, donors_of
from bleep_train.study.scoring import WITHIN, MethodRow, Scored, score_fold
from bleep_train.study.tables import (
    BOTH_SIDES,
    GENE_SETS_FILE,
    GENES_FILE,
    METRICS_FILE,
    TABLE_FILE,
    absent_genes,
    fold_table,
    score_names,
    without_nan,
)

BUNDLE_LEAKS = (
    "Trained under protocol `paper`, which leaks: sections held out of training entered its panel and its Harmony "
    "fit, as in the published code."
)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as it was written."""

    metrics: dict[str, Any]
    """``metrics.json``"""
    table: Table
    """The same for a person."""


def evaluate(
    bundle_path: Path,
    cohort: Path,
    on: Sequence[str],
    out: Path,
    *,
    cache: Path,
    options: PredictOptions | None = None,
    markers: Sequence[str] | None = None,
    with_ridge: bool = True,
    progress: Progress = no_progress,
) -> Evaluation:
    """Evaluates a bundle on sections of a cohort and writes table, per-gene CSV, gene sets and metrics.json.

    Raises ``UsageError`` for a section that the bundle holds, whatever it is called.
    """
    if not on:
        raise UsageError(f"{option('on')} names no section")
    bundle = open_bundle(bundle_path)
    sections = read_cohort(cohort, only=on, progress=progress)
    _refuse_leaks(bundle, sections)
    training = _Training(bundle, markers)
    predictor = Predictor(bundle, options or PredictOptions())
    features = features_of(bundle, cohort, cache, progress) if with_ridge else None
    methods = _methods(predictor, with_ridge, progress)
    rows: list[MethodRow] = []
    genes: list[GeneScores] = []
    for section in sections:
        fold = BundleFold(bundle, section, training, features)
        scored = _scored(fold, methods, cache)
        rows += [s.row({"fold": fold.name, "method": method, "seed": 0}) for method, s in scored.items()]
        arrays = {method: s.arrays for method, s in scored.items()}
        genes.append(GeneScores(fold.name, fold.symbols, training.genes.names(), fold.test_y, arrays))
    evaluation = _told(bundle, sections, rows)
    write_json(out / METRICS_FILE, evaluation.metrics)
    write_json(out / GENE_SETS_FILE, training.genes.names())
    write_tables(out / TABLE_FILE, [evaluation.table])
    write_gene_table(out / GENES_FILE, genes)
    return evaluation


def _refuse_leaks(bundle: Bundle, sections: Sequence[Section]) -> None:
    known = {record.sha256 for record in bundle.info.sections}
    leaked = [s.id for s in sections if s.sha256 in known]
    if leaked:
        raise UsageError(
            f"{option('on')} {', '.join(leaked)}: these sections are in the reference; hold them out of training"
        )


class _Training:
    """What all folds of one bundle share: the reference's expression on the genes that any gene set names."""

    def __init__(self, bundle: Bundle, markers: Sequence[str] | None) -> None:
        expression = bundle.expression(None, DENSE_BYTES)
        once = plain_names(bundle.symbols, bundle.gene_ids)
        picked = pick_gene_sets(expression, bundle.symbols, once, markers)
        if not len(picked.sets["all"]):
            raise ReferenceError("no gene is detected in a tenth of the training spots")
        self.columns: I64
        self.genes: GeneSets
        self.columns, self.genes = picked.alone()
        self.expression = dense_columns(expression, self.columns)
        counts = [record.n for record in bundle.info.sections]
        self.groups: I64 = np.repeat(np.arange(len(counts)), counts)


class BundleFold(FoldData):
    """A section held out of a bundle; the training spots are the reference's, as the bundle keeps them."""

    def __init__(
        self, bundle: Bundle, section: Section, training: _Training, features: BundleFeatures | None
    ) -> None:
        self.name, self.held_out = section.id, [section]
        self._bundle, self._features = bundle, features
        self.columns, self.symbols, self.sets = training.columns, training.genes.symbols, training.genes.sets
        self.train_y, self.groups = training.expression, training.groups
        measured = measured_log1p(section, bundle.symbols, bundle.gene_ids, bundle.info.target_sum)
        self.test_y = dense_columns(measured, self.columns)

    def sections(self, which: Part) -> Sequence[Section]:
        """See :class:`FoldData`."""
        return self._known.training if which == "train" else self.held_out

    @property
    def panel(self) -> F32:
        """f32[n, p] log1p of the reference on its panel."""
        return dense_columns(self._bundle.expression(None, DENSE_BYTES), self._bundle.panel)

    def features(self, which: Part) -> list[F32]:
        """See :class:`FoldData`."""
        return self._known.of(self.sections(which))

    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """See :class:`FoldData`."""
        return (self._known.stages,) * len(self._bundle.info.tile.um)

    @property
    def _known(self) -> BundleFeatures:
        if self._features is None:
            raise UsageError("this evaluation was asked to go without frozen features")
        return self._features


def predict_section(section: Section, predictor: Predictor, columns: I64, progress: Progress = no_progress) -> F32:
    """f32[n, len(columns)]: the section's spots through the runtime, on those genes of the bundle."""
    with section_slide(section) as slide:
        grid = section_grid(section, slide.mpp, predictor.bundle.info.tile)
        prediction = predictor.predict_plan(
            Plan(slide, grid, np.ones(len(grid), bool), (), predictor.options), progress
        )
    return np.concatenate([dense_columns(block, columns) for _, block in prediction.blocks()])


Method = Callable[[BundleFold, int, Path], F32]
"""As in ``methods/by_name.py``, of a bundle's fold."""


def _methods(predictor: Predictor, with_ridge: bool, progress: Progress) -> dict[str, Method]:
    """The bundle itself and what stands beside it, by name."""

    def through_the_runtime(fold: BundleFold, seed: int, work: Path) -> F32:
        return predict_section(fold.held_out[0], predictor, fold.columns, progress)

    beside = ("ridge", "mean") if with_ridge else ("mean",)
    return {BLEEP: through_the_runtime, **{name: UNTRAINED[name] for name in beside}}


def _scored(fold: BundleFold, methods: Mapping[str, Method], work: Path) -> dict[str, Scored]:
    """Every method on a fold, and the bundle's prediction shuffled."""
    predicted = {name: predict(fold, 0, work) for name, predict in methods.items()}
    scored = {name: score_fold(fold, [p], with_intervals=True) for name, p in predicted.items()}
    return scored | {SHUFFLED: score_fold(fold, shuffles(predicted[BLEEP]), with_intervals=False)}


def _told(bundle: Bundle, sections: Sequence[Section], rows: Sequence[MethodRow]) -> Evaluation:
    """The rows by section and method, and as a table."""
    donors = donors_of((s.donor for s in bundle.info.sections), (s.donor for s in sections))
    by_section: dict[str, dict[str, Any]] = {section.id: {} for section in sections}
    for row in rows:
        scores = {name: value for name, value in row["scores"].items() if name != WITHIN}
        intervals = {"intervals": row["intervals"]} if row["intervals"] else {}
        by_section[row["job"]["fold"]][row["job"]["method"]] = {**scores, **intervals}
    notes = [f"Donor {', '.join(donors['shared'])} {BOTH_SIDES}"] if donors["shared"] else []
    protocol = bundle.info.training.get("data", {}).get("protocol", "leak-free")
    if protocol == "paper":
        notes.append(BUNDLE_LEAKS)
    metrics = {
        "sections": without_nan(by_section),
        "donors": donors,
        "protocol": protocol,
    }
    names = score_names(rows, several=False)
    return Evaluation(metrics, fold_table(rows, names, notes=(*notes, *absent_genes(rows))))
