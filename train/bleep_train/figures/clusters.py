"""Fig. 5 of the paper: Leiden clusters on the H&E, measured and of every method's prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bleep_cli.types import I64
from bleep_train.figures.data import Result
from bleep_train.figures.style import CATEGORIES, PanelGrid, new_figure, panel, panel_width, signed, title_of
from bleep_train.figures.tissue import SectionPicture, draw_scale_bar, draw_spots, show_tissue
from bleep_train.metrics.clusters import cluster_agreement
from bleep_train.study.saved import MEASURED

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def by_size(labels: I64) -> I64:
    """The same clusters, i64[m], numbered from 0, the largest first; the smaller label first among equals."""
    values, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(values))
    return rank[index]


def matched(measured: I64, predicted: I64) -> I64:
    """Predicted clusters i64[m] renumbered after the measured ones they share most spots with.

    One to one, by the assignment of largest total overlap. Predicted clusters without a partner get the
    numbers after the measured ones, the largest first.
    """
    from scipy.optimize import linear_sum_assignment

    truth, guess = by_size(measured), by_size(predicted)
    overlap = np.zeros((int(guess.max()) + 1, int(truth.max()) + 1), np.int64)
    np.add.at(overlap, (guess, truth), 1)
    partner = np.full(len(overlap), -1, np.int64)
    rows, columns = linear_sum_assignment(overlap, maximize=True)
    shared = overlap[rows, columns] > 0
    partner[rows[shared]] = columns[shared]
    alone = np.flatnonzero(partner < 0)
    partner[alone] = overlap.shape[1] + np.arange(len(alone))
    return partner[guess]


def colours_of(labels: I64) -> NDArray[np.float64]:
    """f64[m, 4] RGBA; beyond the palette the colours start again."""
    from matplotlib.colors import to_rgba_array

    return np.asarray(to_rgba_array(CATEGORIES)[labels % len(CATEGORIES)], np.float64)


def clusters_figure(result: Result, tissue: SectionPicture, dpi: int) -> Figure:
    """One panel per method beside the measured clusters; a cluster has the colour of its measured partner."""
    columns = len(result.clusters)
    wide = panel_width(columns, least=1.2, most=2.2, sides=0.2, gap=0.08)
    grid = PanelGrid(1, columns, wide, wide * tissue.aspect, left=0.1, right=0.1, top=0.6, bottom=0.32, gap_x=0.08)
    figure = new_figure(grid.size, f"Leiden clusters · section {result.section} · {result.unit}", dpi)
    truth = by_size(result.clusters[MEASURED])
    most = 0
    for column, (name, labels) in enumerate(result.clusters.items()):
        axes = panel(figure, grid, 0, column)
        drawn = truth if name == MEASURED else matched(truth, labels)
        most = max(most, int(drawn.max()))
        show_tissue(axes, tissue)
        draw_spots(axes, tissue, colours_of(drawn))
        axes.set_title(title_of(name), loc="left", pad=13, weight="bold")
        axes.text(0, 1.02, _note(name, truth, labels), transform=axes.transAxes, va="bottom", fontsize=6.5)
        if column == 0:
            draw_scale_bar(axes, tissue)
    _legend(figure, grid, int(truth.max()) + 1, most + 1)
    return figure


def _note(name: str, truth: I64, labels: I64) -> str:
    found = cluster_agreement(truth, labels)
    if name == MEASURED:
        return f"{found['measured']} clusters"
    return f"NMI {signed(found['nmi'])}, ARI {signed(found['ari'])}"


def _legend(figure: Figure, grid: PanelGrid, measured: int, everything: int) -> None:
    """The measured clusters by number, the largest first; then those without a measured partner, by letter."""
    from matplotlib.lines import Line2D

    letters = [chr(ord("a") + i % 26) for i in range(everything - measured)]
    names = [*(str(i + 1) for i in range(measured)), *letters]
    colours = colours_of(np.arange(everything, dtype=np.int64))
    handles = [
        Line2D([], [], marker="o", linestyle="", markersize=4, markeredgewidth=0, color=tuple(colour), label=name)
        for colour, name in zip(colours, names, strict=True)
    ]
    if letters:
        handles.append(Line2D([], [], linestyle="", label="letters: clusters without a measured partner"))
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(grid.left / grid.size[0], 0.07 / grid.size[1]),
        ncols=len(handles),
        frameon=False,
        handlelength=0.8,
        handletextpad=0.2,
        columnspacing=0.9,
        borderpad=0,
        borderaxespad=0,
        fontsize=6.5,
    )
