"""A study: methods × folds × seeds of a cohort under one protocol, from training to saved numbers.

| protocol | left out | what a method may see |
| --- | --- | --- |
| ``leave-one-section-out`` | a section at a time | nothing of it (``leak-free``) |
| ``leave-one-donor-out`` | all sections of a donor at a time | nothing of them (``leak-free``) |
| ``paper`` | a section at a time | as published: it leaks (``methods/folds.py``) |

Every finished job is a line of ``results.jsonl``, its prediction lies under ``predictions/`` (``saved.py``):
a study that was stopped goes on where it was, and one that is done can be asked for more methods, seeds or folds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.errors import UsageError
from bleep_cli.types import F32, Progress, no_progress
from bleep_train.config.protocols import LEFT_OUT, DataProtocol
from bleep_train.config.schema import Config
from bleep_train.methods.by_name import BLEEP, find_method
from bleep_train.methods.folds import Fold, FoldData, Study
from bleep_train.methods.simple import SHUFFLES, shuffled_rows
from bleep_train.metrics.bootstrap import gene_intervals, interval, resampled_means, resampled_pearson
from bleep_train.metrics.clusters import cluster_agreement, leiden
from bleep_train.metrics.gene_gene import gene_gene, structure_agreement, structure_genes
from bleep_train.metrics.per_gene import pearson, per_gene, score
from bleep_train.study.journal import Journal, Row, fingerprint
from bleep_train.study.plan import StudyPlan
from bleep_train.study.saved import (
    SHUFFLED,
    STUDY,
    FoldFolder,
    FoldTruth,
    StudyRecord,
    file_name,
    load_study,
    save_study,
)

RESULTS = "results.jsonl"
RESAMPLED = "resampled_"
WITHIN = "hvg50_within"
TOP = 5


@dataclass(frozen=True)
class StudyResult:
    """What was run, and a row of ``results.jsonl`` for every fold, method and seed of it."""

    record: StudyRecord
    rows: tuple[Row, ...]


def run_study(
    cohort: Path, config: Config, plan: StudyPlan, out: Path, *, progress: Progress = no_progress
) -> StudyResult:
    """Runs what ``out`` does not hold yet. Raises ``UsageError`` where ``out`` holds another study."""
    plan.check()
    by, truth = LEFT_OUT[plan.protocol]
    study = Study(cohort, config, out / "cache", markers=plan.markers, progress=progress)
    folds = study.folds(by, plan.test)
    record = _record(cohort, study, plan, folds, truth)
    _refuse_another(out, record)
    save_study(out, record)
    journal = Journal(out / RESULTS)
    rows: list[Row] = []
    total = len(folds) * len(plan.jobs())
    for fold in folds:
        for row in _FoldRun(study, fold, plan, record, out, journal).rows():
            rows.append(row)
            progress("jobs", len(rows), total)
    return StudyResult(record, tuple(rows))


def _record(cohort: Path, study: Study, plan: StudyPlan, folds: list[Fold], truth: DataProtocol) -> StudyRecord:
    described: dict[str, Any] = {}
    for fold in folds:
        train, test = ([study.sections[i] for i in part] for part in (fold.train, fold.test))
        donors = {s.donor for s in train}, {s.donor for s in test}
        described[fold.name] = {
            "sections": [s.id for s in test],
            "donors": {
                "train": sorted(donors[0]),
                "test": sorted(donors[1]),
                "shared": sorted(donors[0] & donors[1]),
            },
            "data": fingerprint({"train": [s.sha256 for s in train], "test": [s.sha256 for s in test]}),
        }
    return StudyRecord(
        cohort=str(cohort),
        protocol=plan.protocol,
        truth=truth,
        methods=plan.methods,
        seeds=plan.seeds,
        markers=plan.markers,
        folds=described,
        config=study.config.as_dict(),
    )


def _refuse_another(out: Path, record: StudyRecord) -> None:
    """Predictions have one name per fold, method and seed: another study would overwrite them one by one."""
    if not (out / STUDY).is_file():
        return
    before = load_study(out)
    for what, option in (("protocol", "--protocol"), ("config", "--config and --set"), ("markers", "--markers")):
        # as JSON: lists and tuples are the same there
        if fingerprint({what: getattr(before, what)}) != fingerprint({what: getattr(record, what)}):
            raise UsageError(
                f"{out.name} holds a study with another {what}; give its {option}, or another folder with -o"
            )


class _FoldRun:
    """The jobs of one fold: its data is read only where a job is still to be done."""

    def __init__(
        self, study: Study, fold: Fold, plan: StudyPlan, record: StudyRecord, out: Path, journal: Journal
    ) -> None:
        self.study, self.fold, self.plan, self.out, self.journal = study, fold, plan, out, journal
        self.folder = FoldFolder.of(out, fold.name)
        self.truth_kind = LEFT_OUT[plan.protocol][1]
        self.key = {
            "config": fingerprint({"config": record.config, "markers": record.markers}),
            "data": record.folds[fold.name]["data"],
            "protocol": plan.protocol,
            "fold": fold.name,
        }

    def rows(self) -> Iterator[Row]:
        """A row per job, from the journal or just made."""
        data: FoldData | None = None
        for method, seed in self.plan.jobs():
            job = {**self.key, "method": method, "seed": seed}
            if method == SHUFFLED:
                job["of"] = self.plan.shuffled_from
            row = self.journal.find(job)
            if row is None or not self.folder.has_predicted(method, seed):
                data = data or self._open()
                row = {"job": job, **self._run(data, method, seed)}
                self.journal.add(row)
            yield row

    def _open(self) -> FoldData:
        """The fold's data, its truth and the clusters of that saved."""
        data = self.study.data(self.fold, self.truth_kind)
        held_out = data.sections("test")
        truth = FoldTruth(
            symbols=data.symbols,
            measured=data.test_y,
            train_mean=data.train_y.mean(axis=0),
            section=np.repeat([s.id for s in held_out], [len(s.barcodes) for s in held_out]),
            barcode=np.concatenate([s.barcodes for s in held_out]),
            xy_l0=np.concatenate([s.xy_l0 for s in held_out]).astype(np.float64),
            reference=data.train_y.astype(np.float16),
        )
        self.folder.save_truth(truth, {name: data.symbols[rows].tolist() for name, rows in data.sets.items()})
        self.folder.save_clusters(leiden(data.test_y[:, data.sets["all"]]))
        return data

    def _run(self, data: FoldData, method: str, seed: int) -> Row:
        if method == SHUFFLED:
            original = self.folder.predicted(self.plan.shuffled_from or BLEEP, seed)
            orders = [shuffled_rows(len(original), i) for i in range(SHUFFLES)]
            predictions = [original[order] for order in orders]
        else:
            work = self.out / "runs" / f"{file_name(method)}-{file_name(self.fold.name)}-{seed}"
            predictions = [find_method(method)(data, seed, work)]
        measured = _measure(data, predictions, with_intervals=method != SHUFFLED)
        self.folder.save_scores(method, seed, measured.arrays)
        structure = self._structure(data, predictions[0], method, seed)
        self.folder.save_predicted(method, seed, predictions[0])  # last: its presence says that all is there
        return {"scores": measured.scores, "intervals": measured.intervals, "top": measured.top, **structure}

    def _structure(self, data: FoldData, predicted: F32, method: str, seed: int) -> Row:
        labels = leiden(predicted[:, data.sets["all"]], seed=seed)
        self.folder.save_clusters(labels, method, seed)
        genes, rows = structure_genes(data.sets)
        agreement = structure_agreement(gene_gene(data.test_y[:, rows]), gene_gene(predicted[:, rows]))
        return {
            "clusters": cluster_agreement(self.folder.clusters(), labels),
            "genegene": {"genes": genes, **agreement},
        }


def _within_sections(data: FoldData, predicted: F32) -> float:
    """Mean over the held-out sections of the mean r over ``hvg50`` inside each.

    Over several sections at once, r also rewards telling one section from another.
    """
    ends = np.cumsum([len(s.barcodes) for s in data.sections("test")])[:-1]
    rows = data.sets["hvg50"]
    sides = (np.split(side[:, rows], ends) for side in (predicted, data.test_y))
    return float(np.mean([np.nan_to_num(pearson(p, m)).mean() for p, m in zip(*sides, strict=True)]))


@dataclass(frozen=True)
class _Measured:
    scores: dict[str, Any]
    intervals: dict[str, tuple[float, float]]
    top: list[tuple[str, float]]
    arrays: dict[str, Any]


def _measure(data: FoldData, predictions: list[F32], *, with_intervals: bool) -> _Measured:
    """The scores of one prediction; of several (shuffles), their means."""
    every = [{**score(p, data.test_y, data.sets), WITHIN: _within_sections(data, p)} for p in predictions]
    scores = {key: type(every[0][key])(np.mean([s[key] for s in every])) for key in every[0]}
    genes = [per_gene(p, data.test_y) for p in predictions]
    arrays: dict[str, Any] = {name: np.mean([g[name] for g in genes], axis=0) for name in genes[0]}
    rows = data.sets["all"]
    r = arrays["pearson"][rows]
    best = np.argsort(np.where(np.isnan(r), np.inf, -r), kind="stable")[:TOP]
    top = [(str(data.symbols[rows[i]]), float(r[i])) for i in best if not np.isnan(r[i])]
    intervals: dict[str, tuple[float, float]] = {}
    if with_intervals:
        resampled = resampled_pearson(predictions[0], data.test_y, data.fold.name)
        arrays["pearson_low"], arrays["pearson_high"] = gene_intervals(resampled)
        means = resampled_means(resampled, data.sets)
        arrays |= {RESAMPLED + name: values for name, values in means.items()}
        intervals = {name: interval(values) for name, values in means.items()}
    return _Measured(scores, intervals, top, arrays)
