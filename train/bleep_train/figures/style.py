"""What all figures share: type, colours that the colour-blind tell apart, panels in a grid, files.

Planes: ``in`` is inches of the figure, origin top left.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.plotting import style
from bleep_train.study.saved import MEASURED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Format = Literal["png", "pdf", "svg"]
FIGURES = ("2", "3", "4", "5", "S")
"""Of the paper, by number; S of its supplement."""

WIDTH_IN = 7.2
"""A page's text width in most journals; figures of many methods grow beyond it instead of shrinking the type."""

CORRELATION = "RdBu_r"
CATEGORIES = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442",
    "#332288", "#117733", "#882255", "#44aa99", "#999933", "#aa4499", "#ddcc77",
)  # fmt: skip
"""Okabe and Ito without black, then Tol's muted scheme."""

INK, FAINT = "#202124", "#c4c8cc"
_BAR = style.BarLook(
    label_pt=6.5,
    label_pad_pt=2,
    tick_pt=6,
    tick_length_pt=2,
    tick_width_pt=0.5,
    tick_pad_pt=1.5,
    end_share=0.03,
    few_ticks=True,
)
_TITLES = {
    MEASURED: "Measured",
    "bleep": "BLEEP",
    "ridge": "Ridge",
    "ridge-columns": "Ridge (columns scaled)",
    "pls": "PLS",
    "cca": "CCA retrieval",
    "hest-ridge": "HEST-Bench probe",
    "knn": "kNN",
    "st-net": "ST-Net",
    "st-net-250": "ST-Net (250 genes)",
    "st-net-cpu": "ST-Net (CPU size)",
    "histogene": "HisToGene",
    "histogene-cpu": "HisToGene (CPU size)",
    "mean": "Training mean",
    "shuffled": "Shuffled spots",
    "shifted": "Shifted map",
    "external": "External",
}


def title_of(method: str) -> str:
    """The name a reader knows a method by: ``bleep:clip`` → ``BLEEP (clip)``."""
    kind, _, variant = method.partition(":")
    name = _TITLES.get(kind, kind)
    return f"{name} ({variant})" if variant else name


def signed(value: float, digits: int = 2) -> str:
    """A number with a true minus sign, zero without; a dash where there is none."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults, whatever the user's are, with small type and thin lines."""
    import matplotlib.style

    settings = {
        "font.family": "DejaVu Sans",  # comes with Matplotlib: the same picture on every machine
        "font.size": 7,
        "axes.titlesize": 7.5,
        "axes.labelsize": 7,
        "axes.linewidth": 0.6,
        "axes.edgecolor": style.GREY,
        "axes.labelcolor": INK,
        "text.color": INK,
        "xtick.labelsize": 6.5,
        "ytick.labelsize": 6.5,
        "xtick.color": style.GREY,
        "ytick.color": style.GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "xtick.minor.size": 0,
        "ytick.minor.size": 0,
        "pdf.fonttype": 42,  # text stays text
        "svg.fonttype": "none",
        "svg.hashsalt": "bleep",
    }
    with matplotlib.style.context(["default", settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a section may be named in any script
        yield


@dataclass(frozen=True)
class PanelGrid:
    """Panels in rows and columns; lengths in inches."""

    rows: int
    """Panels below each other."""
    columns: int
    """Panels beside each other."""
    wide: float
    """Width of a panel."""
    high: float
    """Height of a panel."""
    left: float = 0.3
    """Margin of the figure."""
    right: float = 0.1
    """Margin of the figure."""
    top: float = 0.62
    """Margin of the figure, with its title."""
    bottom: float = 0.3
    """Margin of the figure."""
    gap_x: float = 0.1
    """Between two columns."""
    gap_y: float = 0.3
    """Between two rows."""

    @property
    def size(self) -> tuple[float, float]:
        """(width, height) of the figure in inches."""
        columns, rows = self.columns, self.rows
        return (
            self.left + columns * self.wide + (columns - 1) * self.gap_x + self.right,
            self.top + rows * self.high + (rows - 1) * self.gap_y + self.bottom,
        )

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Top left corner of a panel in inches."""
        return self.left + column * (self.wide + self.gap_x), self.top + row * (self.high + self.gap_y)


def panel_width(columns: int, *, least: float, most: float, sides: float, gap: float) -> float:
    """Width in inches that fills the page with ``columns`` panels, between ``least`` and ``most``."""
    return float(np.clip((WIDTH_IN - sides - (columns - 1) * gap) / columns, least, most))


def new_figure(size_in: tuple[float, float], title: str, dpi: int) -> Figure:
    """An empty figure with its title at the top left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, dpi=dpi, facecolor="white")
    figure.text(0.08 / size_in[0], 1 - 0.16 / size_in[1], title, fontsize=8.5, weight="bold", va="center")
    return figure


def panel(figure: Figure, grid: PanelGrid, row: int, column: int) -> Axes:
    """The axes of one panel."""
    left, top = grid.corner(row, column)
    return style.add_axes(figure, left, grid.wide, grid.high, top=top)


def row_label(figure: Figure, grid: PanelGrid, row: int, text: str) -> None:
    """A row's name, upright at the left edge."""
    width, height = figure.get_size_inches()
    middle = grid.corner(row, 0)[1] + grid.high / 2
    figure.text(
        0.15 / width, 1 - middle / height, text, rotation=90, ha="center", va="center", fontsize=7.5, color=INK
    )


def colour_bar(
    figure: Figure,
    mapped: ScalarMappable,
    place_in: tuple[float, float, float, float],
    label: str = "",
    *,
    extend: style.Extend = "neither",
    upright: bool = False,
) -> None:
    """A colour bar of the figures' type at (left, top, width, height) in inches."""
    left, top, wide, high = place_in
    axes = style.add_axes(figure, left, wide, high, top=top)
    style.colour_bar(mapped, axes, _BAR, label, extend=extend, upright=upright)


def save(figure: Figure, path: Path, form: Format, *, force: bool = False) -> Path:
    """Writes a figure whole or not at all; the same figure gives the same bytes.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    dateless: dict[Format, dict[str, None]] = {
        "png": {"Software": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "svg": {"Date": None, "Creator": None},
    }
    with atomic_path(path, force) as temp:
        figure.savefig(temp, format=form, metadata=dateless[form])
    return path
