"""The tables of a comparison: CSV in UTF-8, with commas."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.comparison.outcome import Outcome, Tally
from bleep_cli.comparison.permutation import Tested
from bleep_cli.types import F64

PAGE = "comparison.html"
COMPARISON, REGIONS, MEAN, FRACTION, SETS = (
    f"{name}.csv" for name in ("comparison", "regions", "mean", "fraction", "sets")
)
DIGITS = 6
HEAD = (
    *("first", "second", "region", "paired", "kind", "name", "gene_id", "patients_first", "patients_second"),
    *("mean_first", "mean_second", "effect", "low", "high", "p", "q", "exact", "assignments", "smallest_p"),
)
"""Columns of the comparison; the effect is that of the second over the first."""


def file_names(*, with_sets: bool) -> tuple[str, ...]:
    """Every file of a comparison."""
    return (PAGE, COMPARISON, REGIONS, MEAN, FRACTION, *[SETS] * with_sets)


def write_tables(folder: Path, tally: Tally, outcomes: Sequence[Outcome], *, force: bool) -> None:
    """Writes the tables. ``OutputError`` for what exists and not ``force``, or cannot be written."""
    setting, measured = tally.setting, tally.measured
    where = [
        (part.slide, setting.patients[part.slide], "; ".join(setting.groups[part.slide]), part.region)
        for part in measured
    ]
    first = ("slide", "patient", "group", "region")
    areas = [(part.tiles, f"{part.area_mm2:.{DIGITS}g}") for part in measured]
    _write(folder / REGIONS, (*first, "tiles", "area_mm2"), _joined(where, areas), force)
    for name, values in ((MEAN, "mean"), (FRACTION, "above")):
        rows = (_told(getattr(part, values)[setting.columns]) for part in measured)
        _write(folder / name, (*first, *setting.symbols), _joined(where, rows), force)
    if setting.sets:
        scores = (_told(tally.scores(part.mean[None])[0]) for part in measured)
        _write(folder / SETS, (*first, *setting.sets), _joined(where, scores), force)
    _write(folder / COMPARISON, HEAD, (row for outcome in outcomes for row in _rows(outcome, tally)), force)


def _rows(outcome: Outcome, tally: Tally) -> Iterator[Sequence[Any]]:
    setting = tally.setting
    yield from _of("gene", setting.symbols, setting.ids, outcome, outcome.genes, outcome.gene_values)
    if outcome.sets is not None:
        names = list(setting.sets)
        yield from _of("set", names, [""] * len(names), outcome, outcome.sets, outcome.set_values)


def _of(
    kind: str,
    names: Sequence[str],
    ids: Sequence[str],
    outcome: Outcome,
    found: Tested,
    sides: tuple[F64, F64],
) -> Iterator[Sequence[Any]]:
    contrast = outcome.contrast
    head = (contrast.first, contrast.second, contrast.region, str(contrast.paired).lower(), kind)
    means = [side.mean(axis=0) for side in sides]
    columns = (*means, found.effect, found.low, found.high, found.p, found.q)
    tail = (str(found.exact).lower(), found.assignments, f"{found.smallest_p:.{DIGITS}g}")
    counts = tuple(map(len, contrast.patients))
    for name, gene_id, *numbers in zip(names, ids, *columns, strict=True):
        yield (*head, name, gene_id, *counts, *_told(np.array(numbers)), *tail)


def _joined(a: Iterable[Sequence[Any]], b: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    return ((*left, *right) for left, right in zip(a, b, strict=True))


def _told(values: F64) -> list[str]:
    """Numbers as text; empty where there is none."""
    return ["" if np.isnan(value) else f"{value:.{DIGITS}g}" for value in values.tolist()]


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[Any]], force: bool) -> None:
    with atomic_path(path, force) as temp, temp.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
