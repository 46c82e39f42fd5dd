"""The eight ways in which a picture can lie against the positions of its spots: turned, mirrored, or as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from bleep_cli.types import F64

AS_IT_IS = "as it is"

_Turn = Callable[[F64, F64, float, float], tuple[F64, F64]]
"""(x, y, width, height of the picture that there is) → the x and y of the same spots in it."""

_TURNS: Mapping[str, _Turn] = {
    AS_IT_IS: lambda x, y, w, h: (x, y),
    "mirrored left to right": lambda x, y, w, h: (w - x, y),
    "mirrored top to bottom": lambda x, y, w, h: (x, h - y),
    "turned by 180 degrees": lambda x, y, w, h: (w - x, h - y),
    "turned by 90 degrees": lambda x, y, w, h: (w - y, x),
    "turned by 270 degrees": lambda x, y, w, h: (y, h - x),
    "mirrored along the diagonal": lambda x, y, w, h: (y, x),
    "mirrored along the other diagonal": lambda x, y, w, h: (w - y, h - x),
}

ORIENTATIONS = tuple(_TURNS)
"""By what was done to the picture, not to the spots; turns are clockwise, the diagonal runs from the top left."""


def oriented(xy_l0: F64, size_l0: tuple[int, int], orientation: str) -> F64:
    """Where positions f64[n, 2] (x, y) lie in a picture that was turned or mirrored, (w, h) ``size_l0`` since."""
    x, y = xy_l0.T
    return np.stack(_TURNS[orientation](x, y, *map(float, size_l0)), axis=1)
