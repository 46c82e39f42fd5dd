"""What all pictures share: axes placed in inches, what colours span, colour bars, the length of a scale bar.

Planes: ``in`` is inches of the figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bleep_cli.types import F32, F64

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

Extend = Literal["neither", "min", "max", "both"]

EXPRESSION = "viridis"
"""Perceptually uniform and safe for the colour-blind."""

GREY = "#5f6368"


@dataclass(frozen=True)
class BarLook:
    """How large a colour bar's parts are drawn."""

    label_pt: float
    """Size of its label's type."""
    label_pad_pt: float
    """From the numbers to the label."""
    tick_pt: float
    """Size of its numbers' type."""
    tick_length_pt: float
    tick_width_pt: float
    tick_pad_pt: float
    """From a tick to its number."""
    end_share: float
    """Length of the pointed ends, where values go beyond, over that of the bar."""
    few_ticks: bool
    """Three or four numbers, for a short bar."""


def add_axes(
    figure: Figure, left: float, wide: float, high: float, *, top: float = 0.0, bottom: float | None = None
) -> Axes:
    """Axes of ``wide`` × ``high`` inches, ``left`` and ``top`` or ``bottom`` inches from the figure's edges."""
    width, height = figure.get_size_inches()
    below = 1 - (top + high) / height if bottom is None else bottom / height
    return figure.add_axes((left / width, below, wide / width, high / height))


def width_in(axes: Axes) -> float:
    """Width of axes in inches."""
    return float(axes.get_position().width * axes.get_figure(root=True).get_size_inches()[0])  # type: ignore[union-attr]


def width_px(axes: Axes) -> float:
    """Width of axes in pixels of the figure."""
    return width_in(axes) * axes.get_figure(root=True).dpi  # type: ignore[union-attr]


def colour_limits(values: F32 | F64, least: float = -np.inf) -> tuple[float, float]:
    """What colours span: 1st to 99th percentile of the finite values.

    Half a unit around a constant, so that it has a colour; not below ``least``, unless the constant is.
    """
    finite = values[np.isfinite(values)].astype(np.float64)
    if not len(finite):
        return 0.0, 1.0
    low, high = (float(edge) for edge in np.percentile(finite, (1, 99)))
    if high - low > 1e-6:
        return low, high
    return (max(low - 0.5, least) if low >= least else low - 0.5), high + 0.5


def extend_of(values: F32 | F64, edges: tuple[float, float]) -> Extend:
    """The ends of a colour bar that values go beyond."""
    below, above = bool((values < edges[0]).any()), bool((values > edges[1]).any())
    if below and above:
        return "both"
    return "min" if below else "max" if above else "neither"


def colour_bar(
    mapped: ScalarMappable,
    axes: Axes,
    look: BarLook,
    label: str = "",
    *,
    extend: Extend = "neither",
    upright: bool = False,
) -> None:
    """A colour bar that fills its ``axes``."""
    from matplotlib.ticker import MaxNLocator

    bar = axes.get_figure(root=True).colorbar(  # type: ignore[union-attr]
        mapped,
        cax=axes,
        extend=extend,
        extendfrac=look.end_share,
        orientation="vertical" if upright else "horizontal",
    )
    bar.outline.set_linewidth(0.4)
    if look.few_ticks:
        bar.locator = MaxNLocator(nbins=4, min_n_ticks=3, steps=[1, 2, 2.5, 5, 10])
    axes.tick_params(
        length=look.tick_length_pt, width=look.tick_width_pt, pad=look.tick_pad_pt, labelsize=look.tick_pt
    )
    if label:
        bar.set_label(label, fontsize=look.label_pt, labelpad=look.label_pad_pt, parse_math=False)


def scale_bar_um(width_um: float, share: float) -> float:
    """The longest of 1, 2, 5 × 10ⁿ µm that is at most a ``share`` of the width."""
    most = width_um * share
    decade = 10.0 ** np.floor(np.log10(most))
    return float(max(step * decade for step in (1, 2, 5) if step * decade <= most))


def length_words(length_um: float) -> str:
    """A length as it stands beside its bar."""
    return f"{length_um / 1000:g} mm" if length_um >= 1000 else f"{length_um:g} µm"
