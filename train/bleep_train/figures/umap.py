"""Supplement of the paper: predictions among the reference, on one UMAP of both.

Expression that no training spot could have lies apart from the grey reference: a batch effect the prediction
itself brings in (paper, section 4.3).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.errors import UsageError, option
from bleep_cli.types import F32, F64
from bleep_train.figures.data import Result
from bleep_train.figures.style import CATEGORIES, FAINT, PanelGrid, new_figure, panel, panel_width, title_of
from bleep_train.study.saved import MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COMPONENTS, NEIGHBOURS, SEED = 50, 15, 0
LEAST_ROWS = 10


def joint_embedding(reference: F32, expressions: Mapping[str, F32]) -> tuple[F64, dict[str, F64]]:
    """UMAP coordinates of the reference f64[n, 2] and of each f32[m, g] matrix, fitted to all of them together.

    Principal components first. Spots of one matrix that are equal are one point, as they would otherwise be a
    cluster of their own. Genes with NaN anywhere are left out. The same input gives the same coordinates on
    one machine. ``UsageError`` for fewer than ten different spots.
    """
    unique = {name: np.unique(matrix, axis=0, return_inverse=True) for name, matrix in expressions.items()}
    rows = np.concatenate([reference, *(matrix for matrix, _ in unique.values())])
    xy = _umap(_components(rows[:, ~np.isnan(rows).any(axis=0)]))
    bounds = np.cumsum([len(reference), *(len(matrix) for matrix, _ in unique.values())])
    parts = np.split(xy, bounds[:-1])
    placed = {name: part[back.ravel()] for (name, (_, back)), part in zip(unique.items(), parts[1:], strict=True)}
    return parts[0], placed


def _components(rows: F32) -> F64:
    """Principal components f64[n, c]; ``UsageError`` for fewer than ten rows or three genes."""
    from sklearn.decomposition import PCA

    n, genes = rows.shape
    if n < LEAST_ROWS or genes < 3:
        raise UsageError(f"no UMAP of {n} spots and {genes} genes; leave it out with {option('only')} 2,3,4,5")
    solver = "full" if n < genes else "covariance_eigh"
    count = min(COMPONENTS, n - 1, genes)
    return np.asarray(PCA(count, svd_solver=solver).fit_transform(rows.astype(np.float64)), np.float64)


def _umap(components: F64) -> F64:
    from sklearn.neighbors import NearestNeighbors

    count = min(NEIGHBOURS, len(components) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(components)
    distance, index = search.kneighbors(components)  # exact: the search of umap itself draws lots
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads given up for the seed, and of libraries that are not there
        from umap import UMAP  # type: ignore[import-untyped]

        model = UMAP(n_neighbors=count, precomputed_knn=(index, distance), init="pca", random_state=SEED, n_jobs=1)
        return np.asarray(model.fit_transform(components), np.float64)


def umap_figure(result: Result, dpi: int) -> Figure:
    """One panel per method beside the measured spots; the reference in grey is the same in all."""
    everything = result.everything()
    reference, placed = joint_embedding(result.reference, everything)
    columns = len(everything)
    wide = panel_width(columns, least=1.2, most=2.2, sides=0.4, gap=0.08)
    grid = PanelGrid(1, columns, wide, wide, left=0.3, right=0.1, top=0.6, bottom=0.24, gap_x=0.08)
    title = f"Predictions among the reference (grey) · section {result.section} · {result.unit}"
    figure = new_figure(grid.size, title, dpi)
    edges = _edges(np.concatenate([reference, *placed.values()]))
    size = float(np.clip(3000 / len(reference), 0.8, 5.0))
    for column, (name, xy) in enumerate(placed.items()):
        axes = panel(figure, grid, 0, column)
        axes.scatter(reference[:, 0], reference[:, 1], s=size, color=FAINT, linewidths=0, rasterized=True)
        colour = "black" if name == MEASURED else CATEGORIES[0]
        axes.scatter(xy[:, 0], xy[:, 1], s=size * 1.3, color=colour, linewidths=0, alpha=0.8, rasterized=True)
        axes.set(xlim=edges[0], ylim=edges[1], xticks=[], yticks=[])
        axes.set_title(title_of(name), loc="left", pad=13, weight="bold")
        points = len(np.unique(xy, axis=0))
        text = f"{len(xy):,} spots" if points > 1 else f"{len(xy):,} spots, one point"
        axes.text(0, 1.02, text, transform=axes.transAxes, va="bottom", fontsize=6.5)
        _frame(axes, first=column == 0)
    return figure


def _edges(xy: F64) -> tuple[tuple[float, float], tuple[float, float]]:
    """Limits of both axes around all points."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    margin = 0.05 * (high - low)
    return (
        (float(low[0] - margin[0]), float(high[0] + margin[0])),
        (float(low[1] - margin[1]), float(high[1] + margin[1])),
    )


def _frame(axes: Axes, *, first: bool) -> None:
    axes.set_xlabel("UMAP 1", labelpad=2)
    if first:
        axes.set_ylabel("UMAP 2", labelpad=2)
