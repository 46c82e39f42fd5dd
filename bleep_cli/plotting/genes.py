"""Several predicted genes of one slide in a grid, tiles laid over the H&E: a figure for print.

Planes: as in :mod:`bleep_cli.plotting.panels`.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING

from bleep_cli.choices import Scale
from bleep_cli.plotting.gene import FOOTER, UNITS, draw_tiles, veil, window_of
from bleep_cli.plotting.panels import BOTTOM_IN, COLOUR_BAR, EDGE_IN, axes_in, panel, scale_bar, show
from bleep_cli.plotting.style import GREY, Extend, colour_bar, colour_limits, extend_of
from bleep_cli.types import F32, Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

GENES_DPI = 300
_MOST_COLUMNS = 4
_PANEL_IN = 2.5, 3.2  # at most, wide and high
_TITLE_IN, _GAP_IN = 0.26, 0.22
_BAR_IN, _BAR_GAP_IN, _TICKS_IN = 0.09, 0.07, 0.24
_LABEL_IN = 0.24  # of what the bars' numbers are
_BAR = replace(COLOUR_BAR, label_pt=8, tick_pt=7, few_ticks=True)


def genes_figure(
    prediction: Prediction, genes: list[str], values: F32, *, scale: Scale = "free", opacity: float = 0.8
) -> Figure:
    """The H&E, then a panel for each gene, ``values`` f32[g, n] as translucent tiles over it.

    Colours span the 1st to 99th percentile of each gene's tiles (``free``), or of all of them (``shared``).
    """
    from matplotlib.figure import Figure

    grid, scalef = prediction.grid, prediction.hires_scalef
    centre_hires, edge_hires = grid.centre_l0 * scalef, grid.drawn_edge_l0() * scalef
    window = window_of(centre_hires, edge_hires, prediction.hires)
    factor = min(_PANEL_IN[0] / window.width, _PANEL_IN[1] / window.height)
    wide, high = window.width * factor, window.height * factor
    rows = ceil((len(genes) + 1) / _MOST_COLUMNS)
    columns = ceil((len(genes) + 1) / rows)
    row_in = _TITLE_IN + high + _BAR_GAP_IN + _BAR_IN + _TICKS_IN
    size = (2 * EDGE_IN + columns * wide + (columns - 1) * _GAP_IN, BOTTOM_IN + _LABEL_IN + rows * row_in + 0.12)
    figure = Figure(figsize=size, dpi=GENES_DPI, facecolor="white")

    def box(place: int) -> tuple[float, float, float, float]:
        row, column = divmod(place, columns)
        top = size[1] - 0.12 - row * row_in - _TITLE_IN
        return EDGE_IN + column * (wide + _GAP_IN), top - high, wide, high

    axes = [panel(figure, window, box(0), "H&E")]
    # Symbols of genes are printed in italics.
    axes += [panel(figure, window, box(place), name, "italic") for place, name in enumerate(genes, 1)]
    for one in axes:
        show(one, prediction.hires, window)
    scale_bar(axes[0], window, grid.mpp / scalef)
    shared = colour_limits(values.ravel(), least=0.0) if scale == "shared" else None
    veiled = ""
    for place, (one, row) in enumerate(zip(axes[1:], values, strict=True), 1):
        limits = shared or colour_limits(row, least=0.0)
        tiles = draw_tiles(one, centre_hires, edge_hires, row, limits, alpha=opacity, rasterized=True)
        veiled = veil(one, prediction, centre_hires, edge_hires)
        _bar(figure, tiles, box(place), extend_of(row, limits))
    units = prediction.provenance.get("expression_units", UNITS)
    words = f"{prediction.slide_id}, predicted: {units}" + (", one scale" if shared else ", a scale each")
    words += f"; of the tiles {veiled.replace(' of them', '')}" if veiled else ""
    for text, above in ((words, BOTTOM_IN + 0.04), (FOOTER, 0.2)):
        figure.text(
            EDGE_IN / size[0], above / size[1], text, fontsize=8, color=GREY, va="center", parse_math=False
        )
    return figure


def _bar(figure: Figure, tiles: PolyCollection, box_in: tuple[float, float, float, float], extend: Extend) -> Axes:
    """A bar as wide as the panel, below it, its colours as translucent as the tiles."""
    left, bottom, wide, _ = box_in
    axes = axes_in(figure, (left, bottom - _BAR_GAP_IN - _BAR_IN, wide, _BAR_IN))
    colour_bar(tiles, axes, _BAR, extend=extend)
    return axes
