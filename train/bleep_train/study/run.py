"""A study: methods × folds × seeds of a cohort under one protocol, from training to saved numbers.

| protocol | left out | what a method may see |
| --- | --- | --- |
| ``leave-one-section-out`` | a section at a time | nothing of it (``leak-free``) |
| ``leave-one-donor-out`` | all sections of a donor at a time | nothing of them (``leak-free``) |
| ``paper`` | a section at a time | as published: it leaks (``methods/folds.py``) |
| ``hest-bench`` | the sections that a split of HEST-Bench names | nothing of them; genes and truth are its own |

Every finished job is a line of ``results.jsonl``, its prediction lies under ``predictions/`` (``saved.py``):
a study that was stopped goes on where it was, and one that is done can be asked for more methods, seeds or folds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.errors import UsageError, option
from bleep_cli.genes.columns import gene_columns
from bleep_cli.types import F32, Progress, Section, no_progress
from bleep_train.config.protocols import BENCH, LEFT_OUT, Truth
from bleep_train.config.schema import Config
from bleep_train.data.hest_bench import read_bench
from bleep_train.methods.by_name import BLEEP, check_objectives, find_method
from bleep_train.methods.folds import CohortFold, Study
from bleep_train.methods.splits import Fold
from bleep_train.metrics.ceiling import reliability
from bleep_train.metrics.clusters import cluster_agreement, leiden
from bleep_train.metrics.gene_gene import gene_gene, structure_agreement, structure_genes
from bleep_train.study.journal import Journal, fingerprint
from bleep_train.study.maps import fold_maps
from bleep_train.study.plan import StudyPlan
from bleep_train.study.saved import (
    NULLS,
    STUDY,
    FoldFolder,
    FoldRecord,
    FoldTruth,
    StudyRecord,
    donors_of,
    file_name,
    load_study,
    save_study,
)
from bleep_train.study.scoring import Job, MethodRow, null_predictions, score_fold

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class StudyResult:
    """What was run, and what came out."""

    record: StudyRecord
    """As in ``study.json``."""
    rows: tuple[MethodRow, ...]
    """A line of ``results.jsonl`` for every fold, method and seed."""


def run_study(
    cohort: Path, config: Config, plan: StudyPlan, out: Path, *, progress: Progress = no_progress
) -> StudyResult:
    """Runs what ``out`` does not hold yet. Raises ``UsageError`` where ``out`` holds another study."""
    plan.check()
    check_objectives(config, plan.methods)
    files = {one.name: one.digest() for one in plan.external}
    by, truth = LEFT_OUT[plan.protocol]
    bench = read_bench(cohort) if plan.protocol == BENCH else None
    study = Study(cohort, config, out / "cache", markers=plan.markers, bench=bench, progress=progress)
    folds = study.folds(by, plan.test)
    record = _record(cohort, study, plan, folds, truth)
    _refuse_another(out, record)
    save_study(out, record)
    journal = Journal(out / RESULTS)
    rows: list[MethodRow] = []
    total = len(folds) * len(plan.jobs())
    for fold in folds:
        for row in _FoldRun(study, fold, plan, record, out, journal, files).rows():
            rows.append(row)
            progress("jobs", len(rows), total)
    return StudyResult(record, tuple(rows))


def _record(cohort: Path, study: Study, plan: StudyPlan, folds: list[Fold], truth: Truth) -> StudyRecord:
    described: dict[str, FoldRecord] = {}
    for fold in folds:
        train, test = ([study.sections[i] for i in part] for part in (fold.train, fold.test))
        described[fold.name] = {
            "sections": [s.id for s in test],
            "donors": donors_of([s.donor for s in train], [s.donor for s in test]),
            "data": fingerprint({"train": spots_of(train), "test": spots_of(test)}),
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


def spots_of(sections: list[Section]) -> list[tuple[str, int]]:
    """What tells which spots these are: with another ``min_counts`` a section keeps its identity."""
    return [(section.sha256, len(section.barcodes)) for section in sections]


def _refuse_another(out: Path, record: StudyRecord) -> None:
    """Predictions have one name per fold, method and seed: another study would overwrite them one by one."""
    if not (out / STUDY).is_file():
        return
    before = load_study(out)
    of_options = {
        "protocol": option("protocol"),
        "config": f"{option('config')} and {option('set')}",
        "markers": option("markers"),
    }
    for what, given in of_options.items():
        # as JSON: lists and tuples are the same there
        if fingerprint({what: getattr(before, what)}) != fingerprint({what: getattr(record, what)}):
            raise UsageError(
                f"{out.name} holds a study with another {what}; give its {given}, "
                f"or another folder with {option('out')}"
            )


class _FoldRun:
    """The jobs of one fold: its data is read only where a job is still to be done."""

    def __init__(
        self,
        study: Study,
        fold: Fold,
        plan: StudyPlan,
        record: StudyRecord,
        out: Path,
        journal: Journal,
        files: Mapping[str, str],
    ) -> None:
        self.study, self.fold, self.plan, self.out, self.journal = study, fold, plan, out, journal
        self.folder = FoldFolder.of(out, fold.name)
        self.truth_kind = LEFT_OUT[plan.protocol][1]
        self.config = fingerprint({"config": record.config, "markers": record.markers})
        self.data = record.folds[fold.name]["data"]
        self.files = files

    def rows(self) -> Iterator[MethodRow]:
        """A row per job, from the journal or just made."""
        data: CohortFold | None = None
        for method, seed in self.plan.jobs():
            job = self._job(method, seed)
            row: MethodRow | None = self.journal.find(job)
            if row is None or not self.folder.has_predicted(method, seed):
                data = data or self._open()
                row = self._run(data, job)
                self.journal.add(row)
            yield row
        if self.truth_kind == "leak-free" and not self.folder.has_ceiling():  # of a study that was run before
            self._save_ceiling(data or self.study.data(self.fold))

    def _job(self, method: str, seed: int) -> Job:
        job: Job = {
            "config": self.config,
            "data": self.data,
            "protocol": self.plan.protocol,
            "fold": self.fold.name,
            "method": method,
            "seed": seed,
        }
        if method in NULLS:
            job["of"] = self.plan.null_of or BLEEP
        if method in self.files:
            job["file"] = self.files[method]
        return job

    def _open(self) -> CohortFold:
        """The fold's data, its truth and the clusters of that saved."""
        data = self.study.data(self.fold, self.truth_kind)
        truth = FoldTruth(
            symbols=data.symbols,
            measured=data.test_y,
            train_mean=data.train_y.mean(axis=0),
            section=data.section,
            barcode=np.concatenate([s.barcodes for s in data.held_out]),
            xy_l0=data.xy,
            reference=data.train_y.astype(np.float16),
        )
        self.folder.save_truth(truth, {name: data.symbols[rows].tolist() for name, rows in data.sets.items()})
        self.folder.save_clusters(leiden(data.test_y[:, data.measured_sets["all"]]))
        if self.truth_kind == "leak-free":
            self._save_ceiling(data)
        return data

    def _save_ceiling(self, data: CohortFold) -> None:
        """The reliability of the held-out measurement, from the counts alone."""
        columns = [gene_columns(section, data.symbols, data.keys) for section in data.held_out]
        target = self.study.config.data.target_sum
        self.folder.save_ceiling(reliability([s.counts for s in data.held_out], columns, target))

    def _run(self, data: CohortFold, job: Job) -> MethodRow:
        method, seed = job["method"], job["seed"]
        predictions, told = self._predictions(data, job)
        scored = score_fold(data, predictions, with_intervals=method not in NULLS)
        self.folder.save_scores(method, seed, scored.arrays)
        self.folder.save_maps(method, seed, fold_maps(data, predictions[0]))
        labels = leiden(predictions[0][:, data.measured_sets["all"]], seed=seed)
        self.folder.save_clusters(labels, method, seed)
        row = scored.row(job)
        if told:
            row["told"] = told
        row["clusters"] = cluster_agreement(self.folder.clusters(), labels)
        genes, rows = structure_genes(data.measured_sets)
        agreement = structure_agreement(gene_gene(data.test_y[:, rows]), gene_gene(predictions[0][:, rows]))
        row["genegene"] = {"genes": genes, **agreement}
        self.folder.save_predicted(method, seed, predictions[0])  # last: its presence says that all is there
        return row

    def _predictions(self, data: CohortFold, job: Job) -> tuple[list[F32], list[str]]:
        """The prediction f32[m, g] of a job, of a control its several ones, and what is to be told of it."""
        method, seed = job["method"], job["seed"]
        if method in NULLS:
            return null_predictions(method, self.folder.predicted(job["of"], seed), data), []
        file = self.plan.file_of(method)
        if file:
            predicted, told = file.predict(data)
            return [predicted], told
        work = self.out / "runs" / f"{file_name(method)}-{file_name(self.fold.name)}-{seed}"
        return [find_method(method)(data, seed, work)], []
