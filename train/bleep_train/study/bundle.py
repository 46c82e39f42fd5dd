"""A bundle evaluated: what it predicts of held-out sections through the runtime, scored as a study's method is.

Each held-out section is a fold that was trained on the bundle's own sections. The method ``bleep`` is what ``bleep
predict --at`` does: the bundle is opened, its ONNX tower embeds the tiles, its index finds the neighbours. Beside
it stand ridge on the frozen features, the mean, shuffled images and shifted maps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.json_file import write_json
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.genes.columns import gene_columns, measured_log1p
from bleep_cli.genes.names import plain_names
from bleep_cli.prediction.expression.impute import DENSE_BYTES
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import F32, F64, I64, Progress, Section, no_progress
from bleep_train.methods.by_name import BLEEP, UNTRAINED
from bleep_train.methods.folds import FoldData, Part, dense_columns
from bleep_train.metrics.blocks import spatial_blocks
from bleep_train.metrics.ceiling import reliability
from bleep_train.metrics.gene_sets import GeneSets, pick_gene_sets
from bleep_train.metrics.maps import map_scores
from bleep_train.metrics.tables import Table, write_tables
from bleep_train.study.bundle_features import BundleFeatures, features_of
from bleep_train.study.differences import PairedFold, differences, differences_table
from bleep_train.study.fold_table import (
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
from bleep_train.study.gene_table import GeneScores, write_gene_table
from bleep_train.study.maps import ceiling_table, fold_ceiling, fold_maps, maps_table
from bleep_train.study.saved import NULLS, donors_of
from bleep_train.study.scoring import WITHIN, MethodRow, null_predictions, score_fold

BUNDLE_LEAKS = (
    "Trained under protocol `paper`, which leaks: sections held out of training entered its panel and its Harmony "
    "fit, as in the published code."
)


@dataclass(frozen=True)
class Evaluation:
    """An evaluation as it was written."""

    metrics: dict[str, Any]
    """``metrics.json``"""
    tables: list[Table]
    """The same for a person: scores, differences, maps, ceiling."""


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
    found = [_evaluated(BundleFold(bundle, section, training, features), methods, cache) for section in sections]
    evaluation = _told(bundle, sections, found)
    names = training.genes.names()
    genes = [GeneScores(f.fold.name, f.fold.symbols, names, f.fold.test_y, f.genes) for f in found]
    write_json(out / METRICS_FILE, evaluation.metrics)
    write_json(out / GENE_SETS_FILE, training.genes.names())
    write_tables(out / TABLE_FILE, evaluation.tables)
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
        own = gene_columns(section, bundle.symbols, bundle.gene_ids)[self.columns]
        self.reliability = reliability([section.counts], [own], bundle.info.target_sum)

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
    def shipped(self) -> bool:
        """See :class:`FoldData`."""
        return self._known.shipped

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
            Plan(slide, grid, np.ones(len(grid), bool), (), predictor.options, section.id), progress
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


@dataclass(frozen=True)
class _Evaluated:
    """A held-out section with all that was found of it."""

    fold: BundleFold
    """The section."""
    rows: list[MethodRow]
    """A row per method."""
    genes: dict[str, dict[str, F64]]
    """By method, every metric of a gene, f64[g]."""
    paired: PairedFold
    """What differences between methods are made of."""


def _evaluated(fold: BundleFold, methods: Mapping[str, Method], work: Path) -> _Evaluated:
    """Every method on a fold, and the bundle's prediction given to other spots."""
    predicted = {name: [predict(fold, 0, work)] for name, predict in methods.items()}
    moved = {null: null_predictions(null, predicted[BLEEP][0], fold) for null in NULLS}
    scored = {
        name: score_fold(fold, several, with_intervals=name not in NULLS)
        for name, several in (predicted | moved).items()
    }
    maps = {name: fold_maps(fold, several[0]) for name, several in (predicted | moved).items()}
    blocks = spatial_blocks(fold.xy, fold.section)
    readers = {name: [partial(_same, one[0])] for name, one in predicted.items()}
    return _Evaluated(
        fold,
        [s.row({"fold": fold.name, "method": name, "seed": 0}) for name, s in scored.items()],
        {name: s.arrays | maps[name] for name, s in scored.items()},
        PairedFold(fold.name, fold.test_y, blocks, fold.measured_sets, readers),
    )


def _same(predicted: F32) -> F32:
    return predicted


def _told(bundle: Bundle, sections: Sequence[Section], found: Sequence[_Evaluated]) -> Evaluation:
    """What was found by section and method, and as tables."""
    donors = donors_of((s.donor for s in bundle.info.sections), (s.donor for s in sections))
    rows = [row for one in found for row in one.rows]
    by_section: dict[str, dict[str, Any]] = {section.id: {} for section in sections}
    for row in rows:
        scores = {name: value for name, value in row["scores"].items() if name != WITHIN}
        intervals = {"intervals": row["intervals"]} if row["intervals"] else {}
        by_section[row["job"]["fold"]][row["job"]["method"]] = {**scores, **intervals}
    maps = {
        one.fold.name: {m: map_scores(arrays, one.fold.measured_sets["all"]) for m, arrays in one.genes.items()}
        for one in found
    }
    ceilings = {one.fold.name: fold_ceiling(one.fold.reliability, one.fold.measured_sets) for one in found}
    paired = [one.paired for one in found]
    between = differences(paired, list(paired[0].predicted))
    protocol = bundle.info.training.get("data", {}).get("protocol", "leak-free")
    metrics = {
        "sections": without_nan(by_section),
        "maps": without_nan(maps),
        "ceilings": ceilings,
        "differences": [one.row() for one in between],
        "donors": donors,
        "protocol": protocol,
    }
    by_method = {m: {0: [of_fold[m] for of_fold in maps.values()]} for m in next(iter(maps.values()))}
    shared = (f"Donor {', '.join(donors['shared'])} {BOTH_SIDES}",) if donors["shared"] else ()
    below = (*((BUNDLE_LEAKS,) if protocol == "paper" else ()), *absent_genes(rows))
    tables = [
        fold_table(rows, score_names(rows, several=False), notes=(*shared, *below)),
        differences_table(between, paired, "held-out sections", below),
        maps_table(by_method, "held-out sections: maps", below),
        ceiling_table(ceilings, "held-out sections: noise ceiling", below),
    ]
    return Evaluation(metrics, tables)
