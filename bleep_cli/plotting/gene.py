"""The picture of one predicted gene on its slide, as a PNG.

Planes: ``hires`` is pixels of ``Prediction.hires``, origin top left, **(x, y)**, pixel (0, 0) covering
[0, 1) × [0, 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.plotting.panels import COLOUR_BAR, Window, add_words, shortened, two_panels
from bleep_cli.plotting.style import EXPRESSION, colour_bar, colour_limits, extend_of
from bleep_cli.types import F32, F64, U8, Prediction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.figure import Figure

SIGNS_AN_INCH = 14  # of the line about the tiles
FOOTER = "BLEEP prediction, not a measurement; research use only"
UNITS = "log1p(CP10k)"
_NO_DATA = "#f2b8b5"
_VEIL = (0.78, 0.78, 0.78, 0.8)


def gene_figure(prediction: Prediction, gene: str, values: F32) -> Figure:
    centre_hires = prediction.grid.centre_l0 * prediction.hires_scalef
    edge_hires = prediction.grid.drawn_edge_l0() * prediction.hires_scalef
    window = window_of(centre_hires, edge_hires, prediction.hires)
    um_per_hires = prediction.grid.mpp / prediction.hires_scalef
    panels = two_panels(
        window, prediction.hires, um_per_hires, ("H&E", f"{gene}, predicted{held_out_r(prediction, gene)}")
    )
    limits = colour_limits(values, least=0.0)
    tiles = draw_tiles(panels.right, centre_hires, edge_hires, values, limits)
    veiled = veil(panels.right, prediction, centre_hires, edge_hires)
    units = prediction.provenance.get("expression_units", UNITS)
    ends = extend_of(values, limits)
    label = shortened(f"{gene}, {units}, predicted", 48)
    colour_bar(tiles, panels.bar, COLOUR_BAR, label, extend=ends, upright=True)
    grid = prediction.grid
    count = f"{len(grid):,} tiles, {grid.pitch_um:.4g} µm apart" if len(grid) > 1 else "1 tile"
    count += f"; {veiled}" if veiled else ""
    count += f"; {shortened(_pixel_size(prediction), 60)}"
    about = shortened(
        "; ".join([count, *_settings(prediction)]), int(panels.figure.get_figwidth() * SIGNS_AN_INCH)
    )
    add_words(panels.figure, prediction.slide_id, about, FOOTER)
    return panels.figure


def held_out_r(prediction: Prediction, gene: str) -> str:
    """``, held-out r 0.42`` of a gene by its symbol, as a title ends; empty where the reference does not know."""
    place = np.flatnonzero(prediction.symbols == gene)
    r = prediction.var.get("heldout_r")
    if r is None or not len(place) or not np.isfinite(r[place[0]]):
        return ""
    return f", held-out r {float(r[place[0]]):.2f}"


def window_of(centre_hires: F64, edge_hires: float, picture: U8) -> Window:
    """The tiles with a margin: at least twelve tiles wide, at most 2.5 times as long as broad.

    Only that last rule reaches beyond the picture.
    """
    low, high = centre_hires.min(axis=0) - edge_hires / 2, centre_hires.max(axis=0) + edge_hires / 2
    first, last = np.minimum(low, 0), np.maximum(high, picture.shape[1::-1])
    size = high - low + 2 * max(0.04 * float((high - low).max()), edge_hires)
    size = np.minimum(np.maximum(size, 12 * edge_hires), last - first)
    size = np.maximum(size, size[::-1] / 2.5)
    corner = np.minimum(np.maximum((low + high - size) / 2, first), last - size)
    return Window(float(corner[0]), float(corner[1]), float(size[0]), float(size[1]))


def draw_tiles(
    axes: Axes, centre_hires: F64, edge_hires: float, values: F32, limits: tuple[float, float], **look: Any
) -> PolyCollection:
    """One square a tile; matplotlib snaps upright squares to pixels, so those that touch leave no seam.

    Colours span ``limits``; ``look`` is handed on.
    """
    import matplotlib
    from matplotlib.collections import PolyCollection
    from matplotlib.colors import Normalize

    corners: Any = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * edge_hires / 2
    tiles = PolyCollection(
        centre_hires[:, None, :] + corners,  # f64[n, 4, 2]
        array=np.ma.masked_invalid(values),
        cmap=matplotlib.colormaps[EXPRESSION].with_extremes(bad=_NO_DATA),
        norm=Normalize(*limits),
        edgecolors="none",
        **look,
    )
    axes.add_collection(tiles, autolim=False)
    return tiles


def veil(axes: Axes, prediction: Prediction, centre_hires: F64, edge_hires: float) -> str:
    """Greys the tiles that ``obs["ood"]`` calls strange to the reference; says so, empty where there are none."""
    from matplotlib.collections import PolyCollection

    strange = np.asarray(prediction.obs.get("ood", ()), bool)
    if not strange.any():
        return ""
    corners: Any = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * edge_hires / 2
    over = PolyCollection(
        centre_hires[strange, None, :] + corners, facecolors=_VEIL, edgecolors="none", rasterized=True
    )
    axes.add_collection(over, autolim=False)
    return f"{strange.mean():.0%} of them strange to the reference, greyed"


def _pixel_size(prediction: Prediction) -> str:
    """The pixel size that was taken, and where it was found."""
    source = prediction.provenance.get("slide", {}).get("mpp_source")
    return f"{prediction.grid.mpp:.4g} µm/px" + (f" ({source})" if source else "")


def _settings(prediction: Prediction) -> list[str]:
    """What else a wrong picture would be seen by: neighbours, reference and what that is of."""
    reference = prediction.provenance.get("reference", {})
    named = ": ".join(filter(None, (reference.get("name"), reference.get("species"))))
    k = prediction.neighbours.index.shape[1]
    return [f"K {k}", *([f"reference {named}"] if named else [])]
