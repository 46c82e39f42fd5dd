"""Ablation grid on a cohort (paper Table 3): objective × K × aggregation × key, held-out section by section.

Frozen features are cached once for the whole cohort, so a cell costs seconds. Queries go through the trained heads
in torch and the runtime's own search and imputation; the exported towers differ from these by less than 1e-4.
Every finished training is a line of ``results.jsonl``: a grid that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bleep_cli.encoder import unit
from bleep_cli.errors import UsageError
from bleep_cli.expression import log1p_normalise
from bleep_cli.genes import join_genes
from bleep_cli.impute import Aggregation, impute_blocks, weigh
from bleep_cli.search import ExactIndex
from bleep_cli.sections import read_cohort
from bleep_cli.types import F32, I64, Progress, no_progress
from bleep_train.backbones import build_backbone
from bleep_train.baselines import mean_predictor, ridge, shuffled_rows
from bleep_train.config import LOSSES, Config, LossName
from bleep_train.data import cached_features, prepare
from bleep_train.loop import pick_device, train
from bleep_train.metrics import pick_gene_sets, score
from bleep_train.model import Towers, build_towers
from bleep_train.source import FeatureSource

RESULTS, TABLE = "results.jsonl", "table.md"
PAPER_TEMPERATURE = 1.0
Row = dict[str, Any]


@dataclass(frozen=True)
class Grid:
    """What is varied. ``by``: what is left out at a time, "section" or "donor"."""

    losses: tuple[LossName, ...] = LOSSES
    ks: tuple[int, ...] = (10, 50, 100)
    aggregations: tuple[Aggregation, ...] = ("average", "simple", "weighted", "published-weighted")
    keys: tuple[str, ...] = ("expression", "image")
    seeds: tuple[int, ...] = (0, 1, 2)
    by: str = "section"


@dataclass(frozen=True)
class Fold:
    """Sections trained on and tested on, as positions in the cohort."""

    name: str
    train: tuple[int, ...]
    test: tuple[int, ...]


class Ablation:
    """A cohort with its features and its measured expression on the genes shared by all sections."""

    def __init__(self, cohort: Path, config: Config, cache: Path, progress: Progress = no_progress) -> None:
        if config.model.trainable != "frozen":
            raise UsageError("ablate needs model.trainable = frozen: it caches features")
        self.config, self.progress = config, progress
        self.sections = read_cohort(cohort, progress=progress)
        backbone = build_backbone(config.model.backbone, config.model.weights)
        self.features = cached_features(
            self.sections, backbone, config.data.tile, cache, torch.device("cpu"), progress
        )
        table = join_genes(self.sections)
        self.symbols = table.symbols
        self.log1p = [
            log1p_normalise(s.counts, config.data.target_sum)[:, table.columns[s.id]] for s in self.sections
        ]

    def folds(self, by: str) -> list[Fold]:
        """One fold per section or per donor."""
        folds = leave_one_out([s.donor if by == "donor" else s.id for s in self.sections])
        if len(folds) < 2:
            raise UsageError(
                f"the cohort has a single {by}: nothing to train on; add sections or use --by section"
            )
        return folds

    def baselines(self, fold: Fold) -> Iterator[Row]:
        """Ridge on the mean features, the mean, and shuffled spots of the ridge prediction."""
        data = _FoldData(self, fold)
        x, z = (np.concatenate([np.asarray(self.features[i]).mean(axis=1) for i in part]) for part in _parts(fold))
        predicted, alpha = ridge(x, data.train_y, z, data.groups, data.sets["all"])
        yield {"method": "ridge", "alpha": alpha, **score(predicted, data.test_y, data.sets)}
        yield {"method": "mean", **score(mean_predictor(data.train_y, len(z)), data.test_y, data.sets)}
        shuffled = [score(predicted[shuffled_rows(len(z), s)], data.test_y, data.sets) for s in range(20)]
        yield {"method": "shuffled", **{k: float(np.mean([r[k] for r in shuffled])) for k in shuffled[0]}}

    def cells(self, fold: Fold, loss: LossName, seed: int, grid: Grid, run: Path) -> Iterator[Row]:
        """One training, and every K, aggregation and key on it."""
        config = with_loss(self.config, loss, seed)
        towers = self._train(fold, config, run)
        data = _FoldData(self, fold)
        image, queries = (np.concatenate([embed(towers, self.features[i]) for i in p]) for p in _parts(fold))
        prepared = prepare([self.sections[i] for i in fold.train], config.data, seed)
        with torch.inference_mode():
            spots = unit(towers.expression(torch.from_numpy(prepared.panel)).numpy())
        for key in grid.keys:
            index = ExactIndex(spots if key == "expression" else image)
            for k in grid.ks:
                found = index.search(queries, k)
                for how in grid.aggregations:
                    if how == "simple" and k != grid.ks[0]:
                        continue  # K = 1 whatever K is
                    blocks = impute_blocks(found, weigh(found, how), data.train_y)
                    predicted = np.concatenate([block for _, block in blocks])
                    yield {
                        "method": "bleep",
                        "loss": loss,
                        "key": key,
                        "k": 1 if how == "simple" else k,
                        "aggregation": how,
                        **score(predicted, data.test_y, data.sets),
                    }

    def _train(self, fold: Fold, config: Config, run: Path) -> Towers:
        data = prepare([self.sections[i] for i in fold.train], config.data, config.optim.seed)
        torch.manual_seed(config.optim.seed)
        device = pick_device()
        towers = build_towers(config.model, len(config.data.tile_um), len(data.panel_keys), pretrained=False)
        source = FeatureSource([self.features[i] for i in fold.train], device)
        if config.model.standardise:
            source.fit(towers.image)
            panel = torch.from_numpy(data.panel)
            towers.expression.scale.fit(panel.mean(dim=0), panel.std(dim=0))
        towers.modules().to(device)
        run.mkdir(parents=True, exist_ok=True)
        train(towers, source, data.panel, config, run, device=device, progress=self.progress)
        towers.modules().cpu().eval()
        return towers


def leave_one_out(labels: Sequence[str]) -> list[Fold]:
    """One fold per label, in order of appearance: tested on its positions, trained on all others."""
    everything = range(len(labels))
    return [
        Fold(
            name,
            train=tuple(i for i in everything if labels[i] != name),
            test=tuple(i for i in everything if labels[i] == name),
        )
        for name in dict.fromkeys(labels)
    ]


class _FoldData:
    """Measured log1p of a fold on the genes that any gene set names, and the sets' positions in them."""

    def __init__(self, ablation: Ablation, fold: Fold) -> None:
        from scipy import sparse

        train_y, test_y = (sparse.vstack([ablation.log1p[i] for i in p], format="csr") for p in _parts(fold))
        genes = pick_gene_sets(train_y, ablation.symbols, np.ones(train_y.shape[1], bool))
        used = np.unique(np.concatenate(list(genes.sets.values())))
        self.sets: dict[str, I64] = {name: np.searchsorted(used, rows) for name, rows in genes.sets.items()}
        self.train_y: F32 = train_y[:, used].toarray()
        self.test_y: F32 = test_y[:, used].toarray()
        self.groups = np.repeat(fold.train, [len(ablation.sections[i].barcodes) for i in fold.train])


def _parts(fold: Fold) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return fold.train, fold.test


def with_loss(config: Config, loss: LossName, seed: int) -> Config:
    """The configuration with another objective and seed; the published one comes with its temperature."""
    changed = replace(config.loss, name=loss)
    if loss == "paper":
        changed = replace(changed, temperature=PAPER_TEMPERATURE, learn_temperature=False)
    return replace(config, loss=changed, optim=replace(config.optim, seed=seed))


def embed(towers: Towers, features: F32) -> F32:
    """``f32[n, 8, d]`` frozen features → unit vectors averaged over the views, as the runtime does it."""
    with torch.inference_mode():
        views = [unit(towers.image.project(torch.from_numpy(np.array(features[:, v]))).numpy()) for v in range(8)]
    return unit(np.asarray(sum(views), np.float32))


def run_grid(
    cohort: Path, config: Config, grid: Grid, out: Path, *, progress: Progress = no_progress
) -> list[str]:
    """Runs what is not in ``out/results.jsonl`` yet; writes and returns the Markdown table."""
    ablation = Ablation(cohort, config, out / "cache", progress)
    folds = ablation.folds(grid.by)
    done = _read(out / RESULTS)
    mark = hashlib.sha256(json.dumps(config.as_dict(), sort_keys=True).encode()).hexdigest()[:12]
    jobs: list[tuple[Fold, LossName | None, int]] = [(fold, None, 0) for fold in folds]
    jobs += [(fold, loss, seed) for loss in grid.losses for seed in grid.seeds for fold in folds]
    for fold, loss, seed in jobs:
        key = {"config": mark, "fold": fold.name, "loss": loss, "seed": seed}
        if any(all(row["job"][k] == v for k, v in key.items()) for row in done):
            continue
        run = out / "runs" / f"{loss}-{fold.name}-{seed}"
        cells = ablation.cells(fold, loss, seed, grid, run) if loss else ablation.baselines(fold)
        row = {"job": key, "cells": list(cells)}
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
