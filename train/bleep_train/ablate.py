"""Ablation grid on a cohort (paper Table 3): objective × K × aggregation × key, held-out section by section.

Frozen features are cached once for the whole cohort, and all cells of one objective share its training
(``retrieval.py``), so a cell costs seconds. Every finished training is a line of ``results.jsonl``: a grid that
was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bleep_cli.errors import UsageError
from bleep_cli.impute import Aggregation
from bleep_cli.types import Progress, no_progress
from bleep_train.baselines import SHUFFLES, mean_predictor, ridge, shuffled_rows
from bleep_train.config import LOSSES, Config, LossName
from bleep_train.metrics import score
from bleep_train.retrieval import Retrieval, with_loss
from bleep_train.study import By, Fold, FoldData, Study

RESULTS, TABLE = "results.jsonl", "table.md"
Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is varied. ``by``: what is left out at a time, "section" or "donor"."""

    losses: tuple[LossName, ...] = LOSSES
    ks: tuple[int, ...] = (10, 50, 100)
    aggregations: tuple[Aggregation, ...] = ("average", "simple", "weighted", "published-weighted")
    keys: tuple[Literal["expression", "image"], ...] = ("expression", "image")
    seeds: tuple[int, ...] = (0, 1, 2)
    by: By = "section"


def baselines(data: FoldData) -> Iterator[Row]:
    """Ridge on the mean features, the mean, and shuffled spots of the ridge prediction."""
    x, z = data.mean_features("train"), data.mean_features("test")
    predicted, alpha = ridge(x, data.train_y, z, data.groups, data.sets["all"])
    yield {"method": "ridge", "alpha": alpha, **score(predicted, data.test_y, data.sets)}
    yield {"method": "mean", **score(mean_predictor(data.train_y, len(z)), data.test_y, data.sets)}
    shuffled = [score(predicted[shuffled_rows(len(z), s)], data.test_y, data.sets) for s in range(SHUFFLES)]
    yield {"method": "shuffled", **{k: float(np.mean([r[k] for r in shuffled])) for k in shuffled[0]}}


def cells(data: FoldData, config: Config, grid: Grid, run: Path) -> Iterator[Row]:
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
    cohort: Path, config: Config, grid: Grid, out: Path, *, progress: Progress = no_progress
) -> list[str]:
    """Runs what is not in ``out/results.jsonl`` yet; writes and returns the Markdown table."""
    if config.model.trainable != "frozen":
        raise UsageError("ablate needs model.trainable = frozen: it caches features")
    study = Study(cohort, config, out / "cache", progress=progress)
    folds = study.folds(grid.by)
    done = _read(out / RESULTS)
    mark = hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode()).hexdigest()[:12]
    jobs: list[tuple[Fold, LossName | None, int]] = [(fold, None, 0) for fold in folds]
    jobs += [(fold, loss, seed) for loss in grid.losses for seed in grid.seeds for fold in folds]
    for fold, loss, seed in jobs:
        key = {"config": mark, "fold": fold.name, "loss": loss, "seed": seed}
        if any(all(row["job"][k] == v for k, v in key.items()) for row in done):
            continue
        run = out / "runs" / f"{loss}-{fold.name}-{seed}"
        data = study.data(fold)
        found = cells(data, with_loss(config, loss, seed), grid, run) if loss else baselines(data)
        row = {"job": key, "cells": list(found)}
        done.append(row)
        with (out / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    lines = table([row for row in done if row["job"]["config"] == mark])
    (out / TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


def _read(path: Path) -> list[Row]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(rows: Sequence[Row]) -> list[str]:
    """Mean over folds per seed, then mean over seeds ± the largest deviation (the paper's Table 3), best first."""
    groups: dict[tuple[Any, ...], dict[int, list[Row]]] = {}
    for row in rows:
        for cell in row["cells"]:
            names = ("method", "loss", "k", "aggregation", "key")
            seeds = groups.setdefault(tuple(cell.get(name, "") for name in names), {})
            seeds.setdefault(row["job"]["seed"], []).append(cell)
    metrics = ("hvg50", "heg50", "all", "variance_ratio")
    measured = [(names, [_over(seeds, m) for m in metrics]) for names, seeds in groups.items()]
    measured.sort(key=lambda item: -item[1][0][0])
    head = "| method | loss | K | aggregation | key | HVG50 r | HEG50 r | all r | variance ratio |"
    lines = [head, "|" + "---|" * 9]
    for names, numbers in measured:
        shown = " | ".join(f"{mean:.3f} ± {spread:.3f}" for mean, spread in numbers)
        lines.append(f"| {' | '.join(map(str, names))} | {shown} |")
    return lines


def _over(seeds: dict[int, list[Row]], metric: str) -> tuple[float, float]:
    means = np.array([np.mean([cell[metric] for cell in cells]) for cells in seeds.values()])
    return float(means.mean()), float(np.abs(means - means.mean()).max())
