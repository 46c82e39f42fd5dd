"""One held-out section of a study, as the figures take it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.base.reasons import did_you_mean
from bleep_cli.errors import UsageError, option
from bleep_cli.types import F32, F64, I64, Str
from bleep_train.config.protocols import BENCH
from bleep_train.metrics.per_gene import pearson
from bleep_train.study.saved import MEASURED, NULLS, FoldFolder, StudyRecord, load_study


@dataclass(frozen=True)
class Result:
    """m spots of one section and g genes; methods in the order they are drawn in."""

    section: str
    """Its id."""
    unit: str
    """Of every expression value."""
    symbols: Str
    """str[g]"""
    sets: Mapping[str, I64]
    """Positions in ``symbols`` by gene set, best first."""
    xy_l0: F64
    """f64[m, 2] spot centres (x, y) in level-0 pixels"""
    measured: F32
    """f32[m, g]"""
    predicted: Mapping[str, F32]
    """f32[m, g] by method; NaN columns for genes a method does not predict"""
    clusters: Mapping[str, I64]
    """i64[m] Leiden labels by method, after those of ``measured``; empty where they were not asked for"""
    reference: F32
    """f32[n, g] of the training spots"""

    def everything(self) -> dict[str, F32]:
        """What was measured, then what each method predicts."""
        return {MEASURED: self.measured, **self.predicted}


def load_result(
    out: Path,
    *,
    fold: str | None = None,
    section: str | None = None,
    methods: Sequence[str] = (),
    clusters: bool = True,
) -> Result:
    """One section of the study in ``out``, with the first run of each method.

    Unless named: the first fold, its first section, and all methods but the controls (shuffled, shifted).
    ``UsageError`` for names that the study does not have and for files that are not there.
    """
    record = load_study(out)
    fold = _chosen("fold", fold, list(record.folds), "the study")
    folder = FoldFolder.of(out, fold)
    truth = folder.truth()
    section = _chosen("section", section, list(dict.fromkeys(truth.section.tolist())), f"fold {fold}")
    rows = np.flatnonzero(truth.section == section)
    seeds = _runs(folder, record, fold, methods)
    labels: dict[str, I64] = {}
    if clusters:
        labels = {MEASURED: folder.clusters()[rows]}
        labels |= {method: folder.clusters(method, seed)[rows] for method, seed in seeds.items()}
    return Result(
        section=section,
        unit=_unit(record),
        symbols=truth.symbols,
        sets=folder.measured_sets(truth),
        xy_l0=truth.xy_l0[rows],
        measured=truth.measured[rows],
        predicted={method: folder.predicted(method, seed)[rows] for method, seed in seeds.items()},
        clusters=labels,
        reference=truth.reference.astype(np.float32),
    )


def _chosen(parameter: str, name: str | None, there: Sequence[str], where: str) -> str:
    if name is not None and name not in there:
        raise UsageError(f"{option(parameter)} {name}: {where} has {', '.join(there)}")
    return there[0] if name is None else name


def _runs(folder: FoldFolder, record: StudyRecord, fold: str, methods: Sequence[str]) -> dict[str, int]:
    """The first seed of each method asked for, or of each the study compares."""
    wanted = methods or [method for method in record.methods if method not in NULLS]

    def first_seed(method: str) -> int | None:
        return next((seed for seed in record.seeds if folder.has_predicted(method, seed)), None)

    found = {method: first_seed(method) for method in wanted}
    missing = [method for method, seed in found.items() if seed is None]
    if missing:
        there = [method for method in record.methods if first_seed(method) is not None]
        known = ", ".join(there) or "none"
        raise UsageError(
            f"{option('methods')} {','.join(missing)}: fold {fold} has no prediction of it; it has {known}"
        )
    return {method: seed for method, seed in found.items() if seed is not None}


def _unit(record: StudyRecord) -> str:
    if record.truth == BENCH:
        return "log1p counts"
    target = float(record.config.get("data", {}).get("target_sum", 1e4))
    return f"{'Harmony-corrected (leaks) ' if record.truth == 'paper' else ''}log1p CP{target / 1000:g}k"


def pick_gene(result: Result, gene: str | None) -> int:
    """Position of a gene, or of the one among HVG50 that BLEEP (else the first method) predicts best.

    Raises ``UsageError`` for a gene the study does not hold, with the symbols most like it.
    """
    symbols = [str(symbol) for symbol in result.symbols]
    if gene is not None:
        if gene not in symbols:
            raise UsageError(
                f"{option('gene')} {gene}: not among the study's {len(symbols):,} genes"
                f"{did_you_mean(gene, symbols)}"
            )
        return symbols.index(gene)
    method = "bleep" if "bleep" in result.predicted else next(iter(result.predicted))
    rows = result.sets["hvg50"]
    r = pearson(result.predicted[method], result.measured)[rows]
    return int(rows[int(np.argmax(np.nan_to_num(r, nan=-np.inf)))])
