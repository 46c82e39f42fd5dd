"""Panels that show the same part of an overview; two of them side by side or one above the other.

Planes: ``hires`` is pixels of the overview, origin top left, **(x, y)**, pixel (0, 0) covering [0, 1) × [0, 1);
``in`` is inches of the figure, origin bottom left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.plotting.style import GREY, BarLook, add_axes, length_words, scale_bar_um, width_in, width_px
from bleep_cli.types import U8

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
BOTTOM_IN, EDGE_IN = 0.42, 0.3
_BAR_IN = 0.16
COLOUR_BAR = BarLook(
    label_pt=9,
    label_pad_pt=4,
    tick_pt=8,
    tick_length_pt=2.5,
    tick_width_pt=0.6,
    tick_pad_pt=3.5,
    end_share=0.025,
    few_ticks=False,
)
_PANEL_IN = 5.1, 7.0
_TOP_IN, _GAP_IN = 0.98, 0.25
_BAR_SPACE_IN = 0.95


@dataclass(frozen=True)
class Window:
    """The part of the overview that is shown, in hires px; it may reach beyond the picture."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Panels:
    """A figure of two panels, the picture drawn in both."""

    figure: Figure
    left: Axes
    """With the picture in its colours, and a scale bar."""
    right: Axes
    """With the picture faint and grey, to be drawn on."""
    bar: Axes
    """For a colour bar, right of the right panel."""


def two_panels(window: Window, picture: U8, um_per_hires: float, titles: tuple[str, str]) -> Panels:
    """The window of an overview u8[h, w, 3] twice, with a title each."""
    from matplotlib.figure import Figure

    panel_in, size_in, origins_in = _layout(window)
    figure = Figure(figsize=size_in, dpi=DPI, facecolor="white")
    left, right = (
        panel(figure, window, (*origin, *panel_in), title)
        for origin, title in zip(origins_in, titles, strict=True)
    )
    show(left, picture, window)
    scale_bar(left, window, um_per_hires)
    show(right, _washed(picture), window)
    bar_in = (origins_in[1][0] + panel_in[0] + 0.12, origins_in[1][1], _BAR_IN, panel_in[1])
    return Panels(figure, left, right, axes_in(figure, bar_in))


def add_words(figure: Figure, title: str, below: str, footer: str) -> None:
    """A title with a line below it, and a footer."""
    wide, high = figure.get_size_inches()
    left, title = EDGE_IN / wide, shortened(title, 56)
    figure.text(left, 1 - 0.32 / high, title, fontsize=13, weight="bold", va="center", parse_math=False)
    figure.text(left, 1 - 0.54 / high, below, fontsize=8.5, color=GREY, va="center", parse_math=False)
    figure.text(left, 0.2 / high, footer, fontsize=8, color=GREY, va="center")


def _layout(
    window: Window,
) -> tuple[tuple[float, float], tuple[float, float], tuple[tuple[float, float], ...]]:
    """(width, height) of a panel, the same of the figure, and both panels' lower left corners, in inches.

    The panels stand side by side, or one above the other where the window is wide.
    """
    stacked = window.width > 1.6 * window.height
    most_wide, most_high = (10.4, 4.0) if stacked else _PANEL_IN
    scale = min(most_wide / window.width, most_high / window.height)
    wide, high = window.width * scale, window.height * scale
    step = (0.0, high + _GAP_IN + 0.2) if stacked else (wide + _GAP_IN, 0.0)
    size = (EDGE_IN + wide + step[0] + _BAR_SPACE_IN, BOTTOM_IN + high + step[1] + _TOP_IN)
    return (wide, high), size, ((EDGE_IN, BOTTOM_IN + step[1]), (EDGE_IN + step[0], BOTTOM_IN))


def axes_in(figure: Figure, box_in: tuple[float, float, float, float]) -> Axes:
    """Axes in a box: left, bottom, width and height in inches."""
    return add_axes(figure, box_in[0], box_in[2], box_in[3], bottom=box_in[1])


def panel(
    figure: Figure, window: Window, box_in: tuple[float, float, float, float], title: str, style: str = "normal"
) -> Axes:
    """Axes in a box (left, bottom, width, height in inches) whose units are hires px of the window."""
    axes = axes_in(figure, box_in)
    axes.set(
        xlim=(window.left, window.left + window.width),
        ylim=(window.top + window.height, window.top),
        xticks=[],
        yticks=[],
    )
    axes.set_title(
        shortened(title, int(11 * box_in[2])), loc="left", fontsize=10, pad=5, fontstyle=style, parse_math=False
    )
    axes.spines[:].set(color="#c8ccd0", linewidth=0.6)
    return axes


def show(axes: Axes, picture: U8, window: Window) -> None:
    """Draws the window's pixels where they lie; the limits of the axes stay as they are.

    They are made as few as the axes show before Matplotlib has them, which resamples in floating point.
    """
    high, wide = picture.shape[:2]
    left, right = (int(np.clip(x, 0, wide)) for x in (window.left, np.ceil(window.left + window.width)))
    top, bottom = (int(np.clip(y, 0, high)) for y in (window.top, np.ceil(window.top + window.height)))
    if left == right or top == bottom:
        return
    limits = axes.get_xlim(), axes.get_ylim()
    colours: dict[str, Any] = {"cmap": "gray", "vmin": 0, "vmax": 255} if picture.ndim == 2 else {}
    shown = _shrunk(picture[top:bottom, left:right], width_px(axes) / window.width)
    axes.imshow(shown, extent=(left, right, bottom, top), aspect="auto", **colours)
    axes.set(xlim=limits[0], ylim=limits[1])


def _shrunk(picture: U8, scale: float) -> U8:
    """u8[h, w] or u8[h, w, 3] at ``scale`` times its size where that is smaller, each pixel the mean of what it
    covers."""
    from PIL import Image

    if scale >= 1:
        return picture
    size = (math.ceil(picture.shape[1] * scale), math.ceil(picture.shape[0] * scale))
    return np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize(size, Image.Resampling.BOX))


def _washed(hires: U8) -> U8:
    """The H&E as faint grey u8[h, w], so that it does not compete with the tiles."""
    luma: NDArray[np.float32] = hires.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return (255 - 0.4 * (255 - luma)).astype(np.uint8)


def scale_bar(axes: Axes, window: Window, um_per_hires: float) -> None:
    """A bar of at most a quarter of the window, in its lower left corner."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import withStroke

    length_um = scale_bar_um(window.width * um_per_hires, 1 / 4)
    inch, halo = window.width / width_in(axes), [withStroke(linewidth=2.5, foreground="w")]
    left, top = window.left + 0.15 * inch, window.top + window.height - 0.2 * inch
    length = length_um / um_per_hires
    bar = Rectangle((left, top), length, 0.05 * inch, color="black", linewidth=0, path_effects=halo)
    axes.add_patch(bar)
    middle, above = left + length / 2, top - 0.04 * inch
    axes.text(middle, above, length_words(length_um), ha="center", va="bottom", fontsize=9, path_effects=halo)


def shortened(text: str, most: int) -> str:
    """A text of one line and at most ``most`` characters, its middle left out if need be."""
    text = " ".join(text.split())
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"
