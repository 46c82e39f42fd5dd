"""A slide as it was judged: its tissue, ink and strange tiles on the overview, the facts beside.

Planes: ``hires`` is pixels of the overview, origin top left, **(x, y)**, pixel (0, 0) covering [0, 1) × [0, 1);
``in`` is inches of the figure, origin bottom left.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.plotting.panels import BOTTOM_IN, DPI, EDGE_IN, Window, add_words, panel, scale_bar, show
from bleep_cli.plotting.style import GREY
from bleep_cli.types import F64, U8, Bool

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOOTER = "tissue: green outline; ink: blue; tiles looked at: grey, strange ones red; research use only"
_TISSUE, _INK, _STRANGE, _ALIKE = "#0b7a3b", "#1f4fd8", "#d40000", "#5f6368"
_COLOURS = {"good": "#0b7a3b", "doubtful": "#b36b00", "bad": "#d40000", "not judged": GREY}
_PANEL_IN = 6.4, 6.0  # at most, wide and high
_FACTS_IN, _LEAST_HIGH_IN, _TOP_IN, _GAP_IN = 4.3, 5.2, 0.98, 0.3
_LINE_IN, _BETWEEN_IN, _LETTERS = 0.17, 0.1, 58


@dataclass(frozen=True)
class QualityPicture:
    """What is drawn of a slide with n tiles."""

    overview: U8
    """u8[h, w, 3]."""
    um_per_hires: float
    """µm per pixel of the overview."""
    tissue: Bool
    """bool[h, w]."""
    ink: Bool
    """bool[h, w]."""
    centre_hires: F64
    """f64[n, 2] (x, y) centres in pixels of the overview."""
    edge_hires: float
    """Edge of a tile in pixels of the overview."""
    strange: Bool | None
    """bool[n]; None where it is not known."""
    title: str
    verdict: str
    facts: Sequence[tuple[str, str, str]]
    """Name, words and state ("good", "doubtful", "bad", "not judged") of each check."""


def quality_figure(drawn: QualityPicture) -> Figure:
    """The overview with what was found on it, and the facts in words right of it."""
    from matplotlib.figure import Figure

    high_px, wide_px = drawn.overview.shape[:2]
    window = Window(0.0, 0.0, float(wide_px), float(high_px))
    scale = min(_PANEL_IN[0] / wide_px, _PANEL_IN[1] / high_px)
    wide, high = wide_px * scale, high_px * scale
    tall = max(high, _LEAST_HIGH_IN)
    size = (2 * EDGE_IN + wide + _GAP_IN + _FACTS_IN, BOTTOM_IN + tall + _TOP_IN)
    figure = Figure(figsize=size, dpi=DPI, facecolor="white")
    axes = panel(figure, window, (EDGE_IN, BOTTOM_IN + tall - high, wide, high), "H&E")
    show(axes, drawn.overview, window)
    _draw(axes, drawn)
    scale_bar(axes, window, drawn.um_per_hires)
    _facts(figure, drawn.facts, EDGE_IN + wide + _GAP_IN, size[1] - _TOP_IN + 0.1)
    add_words(figure, drawn.title, drawn.verdict, FOOTER)
    return figure


def _draw(axes: Axes, drawn: QualityPicture) -> None:
    from matplotlib.colors import to_rgb

    height, width = drawn.ink.shape
    if drawn.tissue.any() and not drawn.tissue.all():
        x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
        axes.contour(x, y, drawn.tissue.astype(float), levels=[0.5], colors=[_TISSUE], linewidths=0.6)
    if drawn.ink.any():
        veil = np.zeros((height, width, 4))
        veil[drawn.ink] = (*to_rgb(_INK), 0.55)
        axes.imshow(veil, extent=(0, width, height, 0), aspect="auto", interpolation="nearest")
    strange = np.zeros(len(drawn.centre_hires), bool) if drawn.strange is None else drawn.strange
    _squares(axes, drawn, ~strange, edgecolors=_ALIKE, facecolors="none", linewidths=0.5)
    _squares(axes, drawn, strange, edgecolors=_STRANGE, facecolors=(*to_rgb(_STRANGE), 0.35), linewidths=0.8)
    axes.set(xlim=(0, width), ylim=(height, 0))


def _squares(axes: Axes, drawn: QualityPicture, which: Bool, **look: object) -> None:
    from matplotlib.collections import PolyCollection

    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * drawn.edge_hires / 2
    squares = drawn.centre_hires[which][:, None] + corners
    axes.add_collection(PolyCollection(list(squares), **look), autolim=False)  # type: ignore[arg-type]


def _facts(figure: Figure, facts: Sequence[tuple[str, str, str]], left_in: float, top_in: float) -> None:
    wide, high = figure.get_size_inches()
    for name, words, state in facts:
        lines = textwrap.wrap(words, _LETTERS) or [""]
        heading = f"{name}: {state}"
        for i, line in enumerate((heading, *lines)):
            look = {"weight": "bold", "color": _COLOURS[state]} if i == 0 else {}
            at = left_in / wide, (top_in - i * _LINE_IN) / high
            figure.text(*at, line, fontsize=8.5, va="top", parse_math=False, **look)  # type: ignore[arg-type]
        top_in -= (1 + len(lines)) * _LINE_IN + _BETWEEN_IN
