"""What a study and the evaluation of a bundle write alike: names of files, the table of folds, JSON values."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def fold_table(
    rows: Sequence[MethodRow], names: Sequence[str], title: str = "", notes: tuple[str, ...] = ()
) -> Table:
    """A row per fold and method: its scores over seeds, the interval over spots, spots, and genes without r."""
    lines = []
    for fold in dict.fromkeys(row["job"]["fold"] for row in rows):
        for method in dict.fromkeys(row["job"]["method"] for row in rows):
            own = [row for row in rows if (row["job"]["fold"], row["job"]["method"]) == (fold, method)]
            cells = [seeds_cell({r["job"]["seed"]: [r["scores"][name]] for r in own}) for name in names]
            counts = (str(own[0]["scores"][name]) for name in ("n_spots", "n_nan"))
            lines.append((fold, method, *cells, span(own[0]["intervals"].get("hvg50")), *counts))
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
