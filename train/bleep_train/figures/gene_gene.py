"""Fig. 4 of the paper: gene-gene correlations over spots, measured and as every method predicts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import F64, I64
from bleep_train.figures.data import Result
from bleep_train.figures.style import (
    CORRELATION,
    PanelGrid,
    colour_bar,
    new_figure,
    panel,
    panel_width,
    signed,
    title_of,
)
from bleep_train.metrics.gene_gene import gene_gene, structure_agreement, structure_genes
from bleep_train.study.saved import MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_ABSENT = "#d4d7da"
MOST_NAMES = 16
"""Of more genes than this no name would be legible."""


def hierarchical_order(correlation: F64) -> I64:
    """Order of the genes of f64[g, g] along the dendrogram of 1 − r (average linkage, optimal leaves).

    Correlations that are not known count as 0. Deterministic.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    if len(correlation) < 3:
        return np.arange(len(correlation), dtype=np.int64)
    distance = 1 - np.nan_to_num(correlation, nan=0.0)
    np.fill_diagonal(distance, 0)
    condensed = squareform((distance + distance.T) / 2, checks=False).clip(0)
    tree = optimal_leaf_ordering(linkage(condensed, method="average"), condensed)
    return np.asarray(leaves_list(tree), np.int64)


def gene_gene_figure(result: Result, dpi: int) -> Figure:
    """One heat-map per method beside the measured one, all in the measured one's order and on one scale."""
    set_name, genes = structure_genes(result.sets)
    matrices = {name: gene_gene(matrix[:, genes]) for name, matrix in result.everything().items()}
    measured = matrices[MEASURED]
    order = hierarchical_order(measured)
    columns = len(matrices)
    named = len(genes) <= MOST_NAMES
    left, bottom, right = (0.62, 0.62, 0.56) if named else (0.12, 0.12, 0.56)
    wide = panel_width(columns, least=1.25, most=2.2, sides=left + right, gap=0.1)
    grid = PanelGrid(1, columns, wide, wide, left=left, right=right, top=0.6, bottom=bottom)
    kind = "marker genes" if set_name == "markers" else "most variable genes"
    title = f"Gene-gene correlation · section {result.section} · {len(genes)} {kind} · {result.unit}"
    figure = new_figure(grid.size, title, dpi)
    for column, (name, matrix) in enumerate(matrices.items()):
        axes = panel(figure, grid, 0, column)
        image = _heat_map(axes, matrix[np.ix_(order, order)])
        axes.set_title(title_of(name), loc="left", pad=13, weight="bold")
        axes.text(0, 1.02, _note(name, measured, matrix), transform=axes.transAxes, va="bottom", fontsize=6.5)
        if named:
            _name_genes(axes, result.symbols[genes][order].tolist(), rows=column == 0)
    place = (grid.size[0] - grid.right + 0.08, grid.top, 0.07, grid.high)
    colour_bar(figure, image, place, "Pearson r", upright=True)
    return figure


def _heat_map(axes: Axes, matrix: F64) -> AxesImage:
    import matplotlib

    colours = matplotlib.colormaps[CORRELATION].with_extremes(bad=_ABSENT)
    image = axes.imshow(
        np.ma.masked_invalid(matrix), cmap=colours, vmin=-1, vmax=1, interpolation="nearest", aspect="auto"
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(linewidth=0.4)
    return image


def _note(name: str, measured: F64, matrix: F64) -> str:
    if name == MEASURED:
        return "ordered by clustering"
    found = structure_agreement(measured, matrix)
    if not np.isfinite(found["r"]):
        return "no correlations: constant"
    return f"r = {signed(found['r'])}, mean |Δr| {found['mad']:.2f}"


def _name_genes(axes: Axes, symbols: list[str], *, rows: bool) -> None:
    ticks = list(range(len(symbols)))
    axes.set_xticks(ticks, symbols, rotation=90, fontsize=5.5)
    axes.tick_params(length=0, pad=1.5)
    if rows:
        axes.set_yticks(ticks, symbols, fontsize=5.5)
