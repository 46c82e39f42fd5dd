"""Ablation grid on a cohort (paper Table 3): objective × K × aggregation × key, held-out section by section.

All cells of one objective and seed share its training (``methods/bleep.py``), and frozen features are cached once
for the whole cohort, so a cell costs seconds. ``data.protocol`` says what a fold may see (``methods/folds.py``).
Every finished training is a line of ``results.jsonl``: a grid that was stopped goes on where it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from bleep_cli.choices import Aggregation, Key
from bleep_cli.types import Progress, no_progress
from bleep_train.config.protocols import By
from bleep_train.config.schema import LOSSES, Config, LossName
from bleep_train.methods.bleep import Retrieval, with_loss
from bleep_train.methods.by_name import BLEEP, UNTRAINED, check_objectives
from bleep_train.methods.folds import CohortFold, FoldData, Study
from bleep_train.methods.simple import shuffles
from bleep_train.methods.splits import Fold
from bleep_train.metrics.per_gene import mean_score, score
from bleep_train.metrics.tables import SHORT, Table, over_seeds, seeds_cell, write_tables
from bleep_train.study.journal import Journal, Row, fingerprint
from bleep_train.study.run import spots_of
from bleep_train.study.tables import LEAKS

RESULTS, TABLE = "results.jsonl", "table.md"


@dataclass(frozen=True)
class AblationGrid:
    """What is varied, and what is left out at a time."""

    losses: tuple[LossName, ...] = LOSSES
    """Objectives, each trained anew."""
    ks: tuple[int, ...] = (10, 50, 100)
    """Neighbours averaged."""
    aggregations: tuple[Aggregation, ...] = get_args(Aggregation)
    """How."""
    keys: tuple[Key, ...] = get_args(Key)
    """Embeddings compared with."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of each training."""
    by: By = "section"
    """What is left out at a time."""
    markers: tuple[str, ...] = ()
    """A gene set of their own."""
    test: tuple[str, ...] = ()
    """Keeps the folds of these names; empty: all."""


def baselines(data: FoldData, work: Path) -> Iterator[Row]:
    """Ridge on the frozen features, the mean, and shuffled spots of the ridge prediction."""
    predicted = UNTRAINED["ridge"](data, 0, work)
    yield {"method": "ridge", **score(predicted, data.test_y, data.sets)}
    yield {"method": "mean", **score(UNTRAINED["mean"](data, 0, work), data.test_y, data.sets)}
    yield {"method": "shuffled", **mean_score(shuffles(predicted), data.test_y, data.sets)}


def cells(data: CohortFold, config: Config, grid: AblationGrid, run: Path) -> Iterator[Row]:
    """One training, and every K, aggregation and key on it."""
    retrieval = Retrieval(data, config, run)
    for key in grid.keys:
        for k in grid.ks:
            for how in grid.aggregations:
                if how == "simple" and k != grid.ks[0]:
                    continue  # K = 1 whatever K is
                k_used = 1 if how == "simple" else k
                predicted = retrieval.predict(k_used, how, key)
                names = {"method": "bleep", "loss": config.loss.name, "key": key, "k": k_used, "aggregation": how}
                yield {**names, **score(predicted, data.test_y, data.sets)}


def run_grid(
    cohort: Path, config: Config, grid: AblationGrid, out: Path, *, progress: Progress = no_progress
) -> Table:
    """Runs what is not in ``out/results.jsonl`` yet; writes ``table.md`` and returns it."""
    check_objectives(config, [f"{BLEEP}:{name}" for name in grid.losses])
    study = Study(cohort, config, out / "cache", markers=grid.markers, progress=progress)
    folds = study.folds(grid.by, grid.test)
    journal = Journal(out / RESULTS)
    mark = fingerprint({**config.as_dict(), "markers": grid.markers, "spots": spots_of(study.sections)})
    jobs: list[tuple[Fold, LossName | None, int]] = [(fold, None, 0) for fold in folds]
    jobs += [(fold, loss, seed) for loss in grid.losses for seed in grid.seeds for fold in folds]
    rows = []
    for fold, loss, seed in jobs:
        key = {"config": mark, "fold": fold.name, "loss": loss, "seed": seed}
        row = journal.find(key)
        if row is None:
            run = out / "runs" / f"{loss}-{fold.name}-{seed}"
            data = study.data(fold, config.data.protocol)
            found = cells(data, with_loss(config, loss, seed), grid, run) if loss else baselines(data, run)
            row = {"job": key, "cells": list(found)}
            journal.add(row)
        rows.append(row)
        progress("jobs", len(rows), len(jobs))
    result = replace(table(rows), notes=(LEAKS,) if config.data.protocol == "paper" else ())
    write_tables(out / TABLE, [result])
    return result


def table(rows: Sequence[Row]) -> Table:
    """Mean over folds per seed, then mean over seeds ± the largest deviation (the paper's Table 3), best first."""
    names = ("method", "loss", "k", "aggregation", "key")
    groups: dict[tuple[str, ...], list[tuple[int, Row]]] = {}
    for row in rows:
        for cell in row["cells"]:
            groups.setdefault(tuple(str(cell.get(name, "")) for name in names), []).append(
                (row["job"]["seed"], cell)
            )
    shown = [m for m in SHORT if any(m in cell for cells in groups.values() for _, cell in cells)]
    measured = [(group, [_by_seed(cells, metric) for metric in shown]) for group, cells in groups.items()]
    measured.sort(key=lambda item: -over_seeds(item[1][0])[0])
    lines = tuple((*group, *(seeds_cell(values) for values in numbers)) for group, numbers in measured)
    columns = ("method", "loss", "K", "aggregation", "key", *(SHORT[metric] for metric in shown))
    return Table(columns, lines)


def _by_seed(cells: Sequence[tuple[int, Row]], metric: str) -> dict[int, list[float]]:
    seeds: dict[int, list[float]] = {}
    for seed, cell in cells:
        seeds.setdefault(seed, []).append(cell.get(metric, math.nan))
    return seeds
