"""Fig. 3 of the paper: one gene on the H&E, measured and predicted, on free and on one fixed colour scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.plotting.style import EXPRESSION, Extend, colour_limits, extend_of
from bleep_cli.types import F64
from bleep_train.figures.data import Result
from bleep_train.figures.style import (
    PanelGrid,
    colour_bar,
    new_figure,
    panel,
    panel_width,
    row_label,
    signed,
    title_of,
)
from bleep_train.figures.tissue import SectionPicture, draw_scale_bar, draw_spots, show_tissue
from bleep_train.metrics.per_gene import pearson
from bleep_train.study.saved import MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

_ABSENT = (0.75, 0.75, 0.75, 1.0)


def gene_figure(result: Result, gene: int, tissue: SectionPicture, dpi: int) -> Figure:
    """Upper row: each panel on the scale of its own values. Lower row: all on the scale of the measured ones."""
    columns = 1 + len(result.predicted)
    wide = panel_width(columns, least=1.2, most=2.2, sides=0.4, gap=0.08)
    grid = PanelGrid(2, columns, wide, wide * tissue.aspect, top=0.6, bottom=0.46, gap_x=0.08, gap_y=0.36)
    symbol = str(result.symbols[gene])
    figure = new_figure(grid.size, f"{symbol} · section {result.section} · {result.unit}", dpi)
    values = {name: matrix[:, gene].astype(np.float64) for name, matrix in result.everything().items()}
    fixed = colour_limits(values[MEASURED])
    for column, (name, value) in enumerate(values.items()):
        free = panel(figure, grid, 0, column)
        mapped = _draw(free, tissue, value, colour_limits(value))
        left, top = grid.corner(0, column)
        if np.isfinite(value).any():
            place = (left + 0.08 * wide, top + grid.high + 0.06, 0.84 * wide, 0.06)
            colour_bar(figure, mapped, place, extend=extend_of(value, colour_limits(value)))
        _title(free, name, result, gene)
        fixed_axes = panel(figure, grid, 1, column)
        mapped = _draw(fixed_axes, tissue, value, fixed)
        if column == 0:
            draw_scale_bar(free, tissue)
            draw_scale_bar(fixed_axes, tissue)
    label = f"{symbol}, {result.unit}, fixed scale of the measured values"
    _long_bar(figure, grid, mapped, label, extend_of(np.concatenate(list(values.values())), fixed))
    row_label(figure, grid, 0, "free scale")
    row_label(figure, grid, 1, "fixed scale")
    return figure


def _draw(axes: Axes, tissue: SectionPicture, value: F64, edges: tuple[float, float]) -> ScalarMappable:
    """Spots coloured by f64[m]; grey where there is no value."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    mapped = ScalarMappable(Normalize(*edges), EXPRESSION)
    colours = mapped.to_rgba(np.nan_to_num(value, nan=edges[0]))
    colours[~np.isfinite(value)] = _ABSENT
    show_tissue(axes, tissue)
    draw_spots(axes, tissue, colours)
    return mapped


def _title(axes: Axes, name: str, result: Result, gene: int) -> None:
    axes.set_title(title_of(name), loc="left", pad=13, weight="bold")
    if name == MEASURED:
        text = f"{len(result.measured):,} spots"
    else:
        r = pearson(result.predicted[name][:, [gene]], result.measured[:, [gene]])[0]
        known = np.isfinite(result.predicted[name][:, gene]).all()
        text = f"r = {signed(float(r))}" if np.isfinite(r) else f"no r: {'constant' if known else 'not predicted'}"
    axes.text(0, 1.02, text, transform=axes.transAxes, va="bottom", fontsize=6.5)


def _long_bar(figure: Figure, grid: PanelGrid, mapped: ScalarMappable, label: str, extend: Extend) -> None:
    left, top = grid.corner(1, 0)
    across = grid.size[0] - grid.left - grid.right
    wide = min(across, 4.0)
    place = (left + (across - wide) / 2, top + grid.high + 0.08, wide, 0.07)
    colour_bar(figure, mapped, place, label, extend=extend)
