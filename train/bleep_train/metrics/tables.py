"""Tables of results: Markdown in files and pipes, drawn by Rich on a terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.base.files.atomic import atomic_path

SHORT = {
    "hvg50": "HVG50 r",
    "hvg50_within": "HVG50 r in sections",
    "heg50": "HEG50 r",
    "all": "all r",
    "variance_ratio": "variance ratio",
    "markers": "markers r",
    "spearman": "HVG50 ρ",
    "mse": "MSE",
}
"""The headings of a prediction's scores, in the order of their columns."""

MAPS = {
    "rmse": "RMSE",
    "ssim": "SSIM",
    "auc": "AUC detected",
    "moran_r": "Moran's I r",
    "svg_hits": "top-50 SVG hits",
    "significant": "genes at FDR 5 %",
}
"""The headings of what is said of a prediction's maps (``metrics/maps.py``), in the order of their columns."""

MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A table of ready text."""

    columns: tuple[str, ...]
    """Headings."""
    rows: tuple[tuple[str, ...], ...]
    """A text for every column."""
    title: str = ""
    """Above it."""
    notes: tuple[str, ...] = ()
    """Below it, a paragraph each."""

    def markdown(self) -> list[str]:
        """Its lines in Markdown."""
        lines = [f"**{self.title}**", ""] if self.title else []
        lines += [_line(self.columns), "|" + "---|" * len(self.columns)]
        lines += [_line(row) for row in self.rows]
        for note in self.notes:
            lines += ["", note]
        return lines


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown(tables: Sequence[Table]) -> str:
    """The text of a Markdown file: tables with an empty line between them."""
    return "\n\n".join("\n".join(table.markdown()) for table in tables) + "\n"


def write_tables(path: Path, tables: Sequence[Table]) -> None:
    """Writes them as Markdown, replacing what was there."""
    with atomic_path(path, force=True) as temp:
        temp.write_text(markdown(tables), encoding="utf-8")


def number(value: float, digits: int = 3) -> str:
    """A value for a cell; a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else MISSING


def span(ends: Sequence[float] | None) -> str:
    """An interval for a cell."""
    return f"[{number(ends[0])}, {number(ends[1])}]" if ends else MISSING


def over_seeds(values: Mapping[int, Sequence[float]]) -> tuple[float, float]:
    """Mean over folds per seed, then the mean over seeds and the largest deviation from it, as the paper's tables
    give them. Folds without a value are left out."""
    means = np.array([_mean_of_known(folds) for folds in values.values()])
    return float(means.mean()), float(np.abs(means - means.mean()).max())


def _mean_of_known(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def seeds_cell(values: Mapping[int, Sequence[float]], digits: int = 3) -> str:
    """Mean ± largest deviation over seeds for a cell; the mean alone where there is one seed."""
    mean, deviation = over_seeds(values)
    return number(mean, digits) if len(values) < 2 else f"{number(mean, digits)} ± {number(deviation, digits)}"
