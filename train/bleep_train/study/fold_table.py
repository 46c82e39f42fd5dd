"""What a study and the evaluation of a bundle write alike: names of files, the table of folds, JSON values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bleep_train.metrics.tables import SHORT, Table, seeds_cell, span
from bleep_train.study.scoring import WITHIN, MethodRow

METRICS_FILE, GENES_FILE, GENE_SETS_FILE, TABLE_FILE = "metrics.json", "genes.csv", "gene_sets.json", "table.md"
BOTH_SIDES = "is on both sides: this measures a new section, not a new patient."


def score_names(rows: Sequence[MethodRow], *, several: bool) -> tuple[str, ...]:
    """The scores that any row has, in the order of their columns; those inside sections only where a fold holds
    ``several``."""
    known = [name for name in SHORT if any(name in row["scores"] for row in rows)]
    return tuple(name for name in known if several or name != WITHIN)


def absent_genes(rows: Sequence[MethodRow]) -> Iterator[str]:
    """A sentence for every fold in which some of the genes to be scored were not measured."""
    for fold, absent in {row["job"]["fold"]: int(row["scores"].get("n_absent", 0)) for row in rows}.items():
        if absent:
            yield (
                f"Fold {fold}: {absent} of the genes of *all* are not measured there and are in none of its means."
            )


def fold_table(
    rows: Sequence[MethodRow],
    names: Sequence[str],
    title: str = "",
    notes: tuple[str, ...] = (),
    ends: Mapping[tuple[str, str], tuple[float, float] | None] | None = None,
) -> Table:
    """A row per fold and method: its scores over seeds, the interval over spots, spots, and genes without r.

    ``ends`` are the intervals by fold and method; without them those of the rows, of which there is one each.
    """
    lines = []
    for fold in dict.fromkeys(row["job"]["fold"] for row in rows):
        for method in dict.fromkeys(row["job"]["method"] for row in rows):
            own = [row for row in rows if (row["job"]["fold"], row["job"]["method"]) == (fold, method)]
            cells = [seeds_cell({r["job"]["seed"]: [r["scores"][name]] for r in own}) for name in names]
            of_spots = own[0]["intervals"].get("hvg50") if ends is None else ends[fold, method]
            counts = (str(own[0]["scores"][name]) for name in ("n_spots", "n_nan"))
            lines.append((fold, method, *cells, span(of_spots), *counts))
    columns = ("fold", "method", *(SHORT[name] for name in names), "HVG50 r 95 %", "spots", "no r")
    return Table(columns, tuple(lines), title, notes)


def finite(value: float) -> float | None:
    """The value, or null for one that JSON has not."""
    return value if math.isfinite(value) else None


def without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return finite(value) if isinstance(value, float) else value
