"""Fig. 2 of the paper: mean and variance of every gene over the section's spots, measured against predicted.

Regression to the mean shows in the lower row: its points fall below the line of identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.plotting.style import GREY
from bleep_cli.types import F32, F64
from bleep_train.figures.data import Result
from bleep_train.figures.style import (
    CATEGORIES,
    INK,
    PanelGrid,
    new_figure,
    panel,
    panel_width,
    signed,
    title_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLAT = 1e-8
"""Variance below which float32 sums cannot tell a prediction from a constant."""


@dataclass(frozen=True)
class Moments:
    """Of the g genes of one matrix, over its spots."""

    mean: F64
    """f64[g] log1p"""
    variance: F64
    """f64[g]"""


def moments(expression: F32) -> Moments:
    """Mean and variance over the spots of f32[m, g]; a variance below ``FLAT`` counts as zero."""
    variance = expression.var(axis=0, dtype=np.float64)
    variance = np.where(variance < FLAT, 0.0, variance)
    return Moments(expression.mean(axis=0, dtype=np.float64), variance)


def agreement(measured: F64, predicted: F64) -> float:
    """Pearson r of log10 over the genes that are positive on both sides; NaN for fewer than three."""
    both = (measured > 0) & (predicted > 0)
    if both.sum() < 3:
        return float("nan")
    return float(np.corrcoef(np.log10(measured[both]), np.log10(predicted[both]))[0, 1])


def moments_figure(result: Result, dpi: int) -> Figure:
    """Upper row means, lower row variances; one column per method; log axes, shared along each row."""
    columns = len(result.predicted)
    wide = panel_width(columns, least=1.25, most=2.1, sides=0.65, gap=0.1)
    grid = PanelGrid(2, columns, wide, wide, left=0.55, right=0.1, top=0.6, bottom=0.42, gap_x=0.1, gap_y=0.5)
    title = f"Mean and variance per gene · section {result.section} · {result.unit}"
    figure = new_figure(grid.size, title, dpi)
    truth = moments(result.measured)
    methods = {name: moments(p) for name, p in result.predicted.items()}
    for row, quantity in enumerate(("mean", "variance")):
        measured: F64 = getattr(truth, quantity)
        predicted: dict[str, F64] = {name: getattr(m, quantity) for name, m in methods.items()}
        y = _edges([measured, *predicted.values()])
        x = y if quantity == "mean" else _edges([measured])  # variances predicted are of another order
        for column, (name, values) in enumerate(predicted.items()):
            axes = panel(figure, grid, row, column)
            _frame(axes, x, y)
            _words(axes, quantity, first=column == 0)
            _points(axes, measured, values, y[0])
            if row == 0:
                axes.set_title(title_of(name), loc="left", pad=13, weight="bold")
            _note(axes, measured, values, ratio=quantity == "variance")
    return figure


def _edges(values: list[F64]) -> tuple[float, float]:
    """Limits of an axis: all positive values, with a margin."""
    logs = np.log10(np.concatenate([v[np.isfinite(v) & (v > 0)] for v in values]))
    if not len(logs):
        return 0.1, 10.0
    margin = 0.06 * float(np.ptp(logs)) + 0.05
    return float(10 ** (logs.min() - margin)), float(10 ** (logs.max() + margin))


def _frame(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    """Log axes with ticks at plain numbers, and the line of identity."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set(xscale="log", yscale="log", xlim=x, ylim=y)
    for axis, edges in ((axes.xaxis, x), (axes.yaxis, y)):
        axis.set_major_locator(FixedLocator(log_ticks(edges)))
        axis.set_major_formatter(FuncFormatter(_plain))
        axis.set_minor_locator(NullLocator())
    both = (min(x[0], y[0]), max(x[1], y[1]))
    axes.plot(both, both, color=GREY, linewidth=0.7, linestyle=(0, (4, 2)), zorder=3)
    axes.grid(color="#eceef0", linewidth=0.5)
    axes.set_axisbelow(True)


def log_ticks(edges: tuple[float, float]) -> list[float]:
    """Whole decades within the limits; 1, 2 and 5 of each where there are fewer than three, else finer ones."""
    first, last = (int(np.floor(np.log10(edge))) for edge in edges)
    decades = range(first, last + 1)
    whole = [10.0**d for d in decades if edges[0] <= 10.0**d <= edges[1]]
    if len(whole) >= 3:
        return whole
    for steps in ((1, 2, 5), range(1, 10)):
        finer = [step * 10.0**d for d in decades for step in steps if edges[0] <= step * 10.0**d <= edges[1]]
        if len(finer) >= 2:
            return finer
    return list(edges)


def _plain(value: float, _position: int) -> str:
    """0.01 and 100 as they are, 10⁻⁴ as a power."""
    return f"{value:.3g}" if 1e-3 <= value < 1e5 else f"$10^{{{round(np.log10(value))}}}$"


def _words(axes: Axes, quantity: str, *, first: bool) -> None:
    axes.set_xlabel(f"measured {quantity}", labelpad=1.5)
    if first:
        axes.set_ylabel(f"predicted {quantity}", labelpad=1.5)
    else:
        axes.tick_params(labelleft=False)


def _points(axes: Axes, measured: F64, predicted: F64, floor: float) -> None:
    """A point per gene; those predicted without variance lie on the lower edge as ticks."""
    seen = np.isfinite(predicted) & (measured > 0)
    shown = seen & (predicted > 0)
    style = {"linewidths": 0, "color": CATEGORIES[0], "zorder": 2}
    axes.scatter(measured[shown], predicted[shown], s=5, alpha=0.45, **style)  # type: ignore[arg-type]
    zero = seen & (predicted == 0)
    if zero.any():
        at = np.full(int(zero.sum()), floor)
        axes.scatter(measured[zero], at, s=22, marker=2, color=CATEGORIES[5], linewidths=0.4, clip_on=False)


def _note(axes: Axes, measured: F64, predicted: F64, *, ratio: bool) -> None:
    """Above the panel r of the logarithms, and the median ratio of variances; at the ticks how many they are."""
    known = np.isfinite(predicted) & (measured > 0)
    r = agreement(measured, predicted)
    words = [f"r = {signed(r)}"] if np.isfinite(r) else []
    if ratio and known.any():
        middle = float(np.median(predicted[known] / measured[known]))
        words.append(f"median ratio {f'{middle:.2f}' if middle >= 0.01 else f'{middle:.1g}'}")
    axes.text(0, 1.02, ", ".join(words), transform=axes.transAxes, va="bottom", fontsize=6.5, color=INK)
    zeros = int((predicted[known] == 0).sum())
    if zeros:
        text = f"{zeros:,} of {int(known.sum()):,} genes at 0"
        axes.text(0.5, 0.06, text, transform=axes.transAxes, ha="center", fontsize=6.5, color=INK, zorder=4)
    below = int(((predicted < 0) | (np.isfinite(predicted) & (measured < 0))).sum())
    if below:
        text = f"{below:,} below 0 not shown"
        axes.text(0.96, 0.04, text, transform=axes.transAxes, ha="right", fontsize=6.5, color=INK, zorder=4)
