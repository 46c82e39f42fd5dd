"""Draws in place of the mean: maps that vary as measured ones do.

A mean of fifty neighbours is smoother than anything that was measured. A draw takes one of a tile's neighbours
in their mean's stead, each as often as its weight says, so that the mean of many draws is the prediction. Which
one is not drawn for every tile alone: neighbours are ordered along one axis of expression
(``reliability/axis.py``), and the place in that order follows a random field over the slide that hangs together as
far as what predictions of left-out spots missed did.
"""

from __future__ import annotations

import numpy as np

from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.types import F32, F64, I64, Neighbours

WAVES = 512
POINTS = 4096  # whose waves are summed at a time
SEED = 20_231


def draw(neighbours: Neighbours, weights: F32, calibration: Calibration, centres_um: F64, number: int) -> I64:
    """i64[n]: the reference row that stands for each tile in draw ``number``; the same number, the same draw.

    ``weights`` f32[n, k] of the neighbours, ``centres_um`` f64[n, 2] of the tiles.
    """
    rng = np.random.default_rng([SEED, number])
    share = calibration.share
    smooth = random_field(centres_um, max(calibration.range_um, 1.0), rng)
    place = _normal_share(np.sqrt(share) * smooth + np.sqrt(1 - share) * rng.standard_normal(len(centres_um)))
    order = np.argsort(calibration.axis[neighbours.index], axis=1, kind="stable")
    below = np.cumsum(np.take_along_axis(weights, order, axis=1), axis=1, dtype=np.float64)
    chosen = np.minimum((below < place[:, None] * below[:, -1:]).sum(axis=1), order.shape[1] - 1)
    rows = np.arange(len(order))
    return np.asarray(neighbours.index[rows, order[rows, chosen]], np.int64)


def random_field(centres_um: F64, range_um: float, rng: np.random.Generator) -> F64:
    """f64[n]: a Gaussian field of mean 0 and variance 1 whose correlation is exp(-distance / ``range_um``), as a
    sum of plane waves; their frequencies are those of that correlation in the plane."""
    towards = rng.standard_normal((2, WAVES)) / np.abs(rng.standard_normal(WAVES)) / range_um
    cosine, sine = rng.standard_normal((2, WAVES)) / np.sqrt(WAVES)
    out = np.empty(len(centres_um))
    for start in range(0, len(centres_um), POINTS):
        phase = centres_um[start : start + POINTS] @ towards
        out[start : start + POINTS] = np.cos(phase) @ cosine + np.sin(phase) @ sine
    return out


def _normal_share(values: F64) -> F64:
    """The share of a standard normal distribution that lies below."""
    from scipy.special import ndtr

    return np.asarray(ndtr(values), np.float64)
