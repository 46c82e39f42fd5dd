"""Held-out sections, predicted through the runtime and compared with what was measured.

The prediction is the one ``bleep predict --at`` makes: the bundle is opened, its ONNX tower embeds the tiles, its
index finds the neighbours. Beside it stand ridge on the frozen features, the mean and shuffled images.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.genes.columns import gene_columns, measured_log1p
from bleep_cli.prediction.impute import DENSE_BYTES
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import F32, F64, I64, Progress, Section, no_progress
from bleep_train.backbones.build import LOCAL, Normalised, build_backbone
from bleep_train.config.schema import Config
from bleep_train.config.toml import config_from
from bleep_train.methods.simple import SHUFFLES, mean_predictor, ridge, shuffled_rows
from bleep_train.metrics.bootstrap import gene_intervals, interval, resampled_means, resampled_pearson
from bleep_train.metrics.gene_sets import GeneSets, pick_gene_sets
from bleep_train.metrics.per_gene import mse, pearson, score, spearman, variance_ratio
from bleep_train.metrics.tables import SHORT, Table, number, span, write_tables
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import cached_features


@dataclass(frozen=True)
class Evaluation:
    """``metrics`` as written to metrics.json, ``table`` for a person."""

    metrics: dict[str, Any]
    table: Table


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
        raise UsageError("--on names no section")
    bundle = open_bundle(bundle_path)
    sections = read_cohort(cohort, only=on, progress=progress)
    _refuse_leaks(bundle, sections)
    training = bundle.expression(None, DENSE_BYTES)
    everywhere = np.ones(len(bundle.symbols), bool)
    for section in sections:
        everywhere &= gene_columns(section, bundle.symbols, bundle.gene_ids) >= 0
    genes = pick_gene_sets(training, bundle.symbols, everywhere, markers)
    if not len(genes.sets["all"]):
        raise ReferenceError("no gene is detected in a tenth of the training spots and measured in every section")
    predictor = Predictor(bundle, options or PredictOptions())
    features = _Features(bundle, cohort, cache, progress) if with_ridge else None
    metrics: dict[str, Any] = {
        "sections": {},
        "donors": _donors(bundle, sections),
        "protocol": bundle.info.training.get("data", {}).get("protocol", "leak-free"),
    }
    rows: list[dict[str, Any]] = []
    for section in sections:
        measured = measured_log1p(section, bundle.symbols, bundle.gene_ids, bundle.info.target_sum)
        predictions = _predict_all(section, predictor, features, genes, training, progress)
        resampled = _resampled(section, genes, predictions, measured)
        scores = {name: score(p, measured, genes.sets) for name, p in predictions.items()}
        for name, r in resampled.items():
            means = resampled_means(r, _within(genes)[1])
            scores[name]["intervals"] = {key: interval(values) for key, values in means.items()}
        scores["shuffled"] = shuffled_score(predictions["bleep"], measured, genes)
        metrics["sections"][section.id] = scores
        rows += _gene_rows(section, genes, predictions, measured, resampled["bleep"])
    evaluation = Evaluation(metrics, table(metrics))
    _write(out, evaluation, genes, rows)
    return evaluation


def _refuse_leaks(bundle: Bundle, sections: Sequence[Section]) -> None:
    known = {record.sha256 for record in bundle.info.sections}
    leaked = [s.id for s in sections if s.sha256 in known]
    if leaked:
        raise UsageError(
            f"--on {', '.join(leaked)}: these sections are in the reference; hold them out of training"
        )


def _donors(bundle: Bundle, sections: Sequence[Section]) -> dict[str, Any]:
    """Who was trained and who was tested on: sections of one donor on both sides flatter the result."""
    train, test = {s.donor for s in bundle.info.sections}, {s.donor for s in sections}
    return {"train": sorted(train), "test": sorted(test), "shared": sorted(train & test)}


def predict_section(section: Section, predictor: Predictor, progress: Progress = no_progress) -> F32:
    """f32[n, g]: the section's spots through the runtime."""
    with section_slide(section) as slide:
        grid = section_grid(section, slide.mpp, predictor.bundle.info.tile)
        prediction = predictor.predict_plan(
            Plan(slide, grid, np.ones(len(grid), bool), (), predictor.options), progress
        )
    return np.concatenate([block for _, block in prediction.blocks()])


def _predict_all(
    section: Section,
    predictor: Predictor,
    features: _Features | None,
    genes: GeneSets,
    training: Any,
    progress: Progress,
) -> dict[str, F32]:
    bleep = predict_section(section, predictor, progress)
    dense = training if isinstance(training, np.ndarray) else training.toarray()
    out = {"bleep": bleep}
    if features is not None:
        x, groups = features.training()
        out["ridge"], _ = ridge(x, dense, features.of(section), groups, genes.sets["all"])
    out["mean"] = mean_predictor(dense, len(bleep))
    return out


def shuffled_score(bleep: F32, measured: F32, genes: GeneSets) -> dict[str, Any]:
    """The score of predictions for other spots' images, averaged over ``SHUFFLES`` permutations."""
    rows = [score(bleep[shuffled_rows(len(bleep), seed)], measured, genes.sets) for seed in range(SHUFFLES)]
    return {key: type(rows[0][key])(np.mean([row[key] for row in rows])) for key in rows[0]}


def starting_backbone(config: Config) -> Normalised:
    """The backbone that training started from; random weights are drawn as training drew them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optim.seed)
        return build_backbone(config.model.backbone, config.model.weights, config.model.levels)


class _Features:
    """Frozen features of the reference's own sections and of the held-out ones: mean of the eight views."""

    def __init__(self, bundle: Bundle, cohort: Path, cache: Path, progress: Progress) -> None:
        self._config: Config = config_from(bundle.info.training, bundle.name)
        if self._config.model.backbone.startswith(LOCAL):
            raise UsageError(
                f"{bundle.name} names a backbone of its maker's own code, which is not run here; use --no-ridge"
            )
        self._backbone = starting_backbone(self._config)
        self._cache, self._progress = cache, progress
        ids = [record.id for record in bundle.info.sections]
        by_id = {s.id: s for s in read_cohort(cohort, only=ids, progress=progress)}
        moved = [r.id for r in bundle.info.sections if by_id[r.id].sha256 != r.sha256]
        if moved:
            raise UsageError(
                f"{cohort.name}: sections {', '.join(moved)} are not those the reference was built from"
            )
        self._sections = [by_id[i] for i in ids]

    def _mean(self, sections: Sequence[Section]) -> list[F32]:
        device = pick_device()
        spec = self._config.data.tile
        views = cached_features(sections, self._backbone, spec, self._cache, device, self._progress)
        return [np.asarray(v).mean(axis=1) for v in views]

    def training(self) -> tuple[F32, Any]:
        """f32[n, d] and the section of each row, i64[n]."""
        parts = self._mean(self._sections)
        return np.concatenate(parts), np.repeat(np.arange(len(parts)), [len(p) for p in parts])

    def of(self, section: Section) -> F32:
        """f32[n, d] of a held-out section."""
        return self._mean([section])[0]


def _within(genes: GeneSets) -> tuple[I64, dict[str, I64]]:
    """Columns of the genes in any set, ascending, and the sets as positions in these."""
    used = np.unique(np.concatenate(list(genes.sets.values())))
    return used, {name: np.searchsorted(used, rows) for name, rows in genes.sets.items()}


def _resampled(section: Section, genes: GeneSets, predictions: dict[str, F32], measured: F32) -> dict[str, F64]:
    """r of every method in resamples of the section's spots, f64[resamples, genes of any set]."""
    used, _ = _within(genes)
    return {name: resampled_pearson(p[:, used], measured[:, used], section.id) for name, p in predictions.items()}


def _gene_rows(
    section: Section, genes: GeneSets, predictions: dict[str, F32], measured: F32, resampled: F64
) -> list[dict[str, Any]]:
    rows = genes.sets["all"]
    r = {name: pearson(p, measured)[rows] for name, p in predictions.items()}
    ratio = variance_ratio(predictions["bleep"], measured)[rows]
    ranks = {name: spearman(p[:, rows], measured[:, rows]) for name, p in predictions.items()}
    errors = {name: mse(p[:, rows], measured[:, rows]) for name, p in predictions.items()}
    low, high = gene_intervals(resampled[:, _within(genes)[1]["all"]])
    hvg, heg = set(genes.sets["hvg50"].tolist()), set(genes.sets["heg50"].tolist())
    return [
        {
            "section": section.id,
            "gene": genes.symbols[row],
            "hvg50": int(row in hvg),
            "heg50": int(row in heg),
            "mean": float(measured[:, row].mean()),
            "variance": float(measured[:, row].var()),
            "variance_ratio": float(ratio[i]),
            **{f"r_{name}": float(values[i]) for name, values in r.items()},
            "r_bleep_low": float(low[i]),
            "r_bleep_high": float(high[i]),
            **{f"spearman_{name}": float(values[i]) for name, values in ranks.items()},
            **{f"mse_{name}": float(values[i]) for name, values in errors.items()},
        }
        for i, row in enumerate(rows)
    ]


def table(metrics: dict[str, Any]) -> Table:
    """The result for a person."""
    scored = [
        (section, name, m) for section, methods in metrics["sections"].items() for name, m in methods.items()
    ]
    keys = ("hvg50", "heg50", "all", "variance_ratio", "markers", "spearman", "mse")
    shown = [key for key in keys if key in scored[0][2]]
    rows = [
        (
            section,
            name,
            *(number(m[key]) for key in shown),
            span(m.get("intervals", {}).get("hvg50")),
            str(m["n_spots"]),
        )
        for section, name, m in scored
    ]
    shared = metrics["donors"]["shared"]
    note = f"Donor {', '.join(shared)} is on both sides: this measures a new section, not a new patient."
    columns = ("section", "method", *(SHORT[key] for key in shown), "HVG50 r 95 %", "spots")
    return Table(columns, tuple(rows), notes=(note,) if shared else ())


def _write(out: Path, evaluation: Evaluation, genes: GeneSets, rows: list[dict[str, Any]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(evaluation.metrics, indent=1) + "\n", encoding="utf-8")
    (out / "gene_sets.json").write_text(json.dumps(genes.names(), indent=1) + "\n", encoding="utf-8")
    write_tables(out / "table.md", [evaluation.table])
    with (out / "genes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
