"""The spots of a measured section on its picture: a wrong picture, a flip or a wrong scale is seen at once.

Planes: ``hires`` is pixels of the overview, origin top left, **(x, y)**, pixel (0, 0) covering [0, 1) × [0, 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.plotting.panels import COLOUR_BAR, Window, add_words, two_panels
from bleep_cli.plotting.style import EXPRESSION, colour_bar, colour_limits, extend_of
from bleep_cli.types import F64, U8, Bool

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure

FOOTER = "spots as measured, red: on glass or beside the picture; research use only"
_ASTRAY = "#d40000"
_RING = "#0b3d91"
_OF_PITCH = 0.55  # diameter of a drawn spot, as of one of Visium


@dataclass(frozen=True)
class SpotPicture:
    """What is drawn of a section: n spots."""

    overview: U8
    """u8[h, w, 3] its picture, small."""
    um_per_hires: float
    """µm per pixel of the overview."""
    xy_hires: F64
    """f64[n, 2] (x, y) centres in pixels of the overview."""
    pitch_hires: float
    """Pixels of the overview between neighbouring spots."""
    totals: F64
    """f64[n] counts of each spot."""
    astray: Bool
    """bool[n] those on glass or beside the picture."""
    title: str
    below: str
    """A line below the title."""


def section_figure(drawn: SpotPicture) -> Figure:
    """The picture with the spots' outlines, beside the same with their counts."""
    panels = two_panels(
        _window(drawn), drawn.overview, drawn.um_per_hires, ("H&E and its spots", "counts per spot")
    )
    for axes in (panels.left, panels.right):
        _rings(axes, drawn, ~drawn.astray, _RING, 0.4)
    filled = _counts(panels.right, drawn)
    for axes in (panels.left, panels.right):
        _rings(axes, drawn, drawn.astray, _ASTRAY, 1.0)
    limits = colour_limits(drawn.totals, least=0.0)
    colour_bar(
        filled, panels.bar, COLOUR_BAR, "counts per spot", extend=extend_of(drawn.totals, limits), upright=True
    )
    add_words(panels.figure, drawn.title, drawn.below, FOOTER)
    return panels.figure


def _window(drawn: SpotPicture) -> Window:
    """The whole picture and all spots, at most 2.5 times as long as broad."""
    margin = drawn.pitch_hires
    low = np.minimum(drawn.xy_hires.min(axis=0) - margin, 0)
    high = np.maximum(drawn.xy_hires.max(axis=0) + margin, drawn.overview.shape[1::-1])
    size = np.maximum(high - low, (high - low)[::-1] / 2.5)
    left, top = (low + high - size) / 2
    return Window(float(left), float(top), float(size[0]), float(size[1]))


def _rings(axes: Axes, drawn: SpotPicture, which: Bool, colour: str, width_pt: float) -> None:
    if which.any():
        axes.add_collection(
            _circles(axes, drawn, which, facecolors="none", edgecolors=colour, linewidths=width_pt), autolim=False
        )


def _counts(axes: Axes, drawn: SpotPicture) -> EllipseCollection:
    from matplotlib.colors import Normalize

    every = np.ones(len(drawn.totals), bool)
    low, high = colour_limits(drawn.totals, least=0.0)
    filled = _circles(
        axes, drawn, every, array=drawn.totals, cmap=EXPRESSION, norm=Normalize(low, high), edgecolors="none"
    )
    axes.add_collection(filled, autolim=False)
    return filled


def _circles(axes: Axes, drawn: SpotPicture, which: Bool, **look: object) -> EllipseCollection:
    from matplotlib.collections import EllipseCollection

    xy = drawn.xy_hires[which]
    across = np.full(len(xy), _OF_PITCH * drawn.pitch_hires)
    return EllipseCollection(
        across, across, np.zeros(len(xy)), units="xy", offsets=xy, offset_transform=axes.transData, **look
    )
