"""Draws in place of the mean: maps that vary as measured ones do.

A mean of fifty neighbours is smoother than anything that was measured. A draw takes one of a tile's neighbours
in their mean's stead, each as often as its weight says, so that the mean of many draws is the prediction. Which
one is not drawn for every tile alone: every spot of the reference has a random field of its own over the slide;
a tile takes the neighbour whose field is highest there (the Gumbel-max trick, so that weights hold). Tiles
side by side share most of their neighbours, and so take the same one as far as the fields hang together: patches
of whole measured profiles, in which genes go together as they were measured.
"""

from __future__ import annotations

import numpy as np

from bleep_cli.types import F32, F64, I64, Neighbours

WAVES = 64
FIELDS = 65_536  # spots whose numbers differ by that share a field
POINTS = 1024  # tiles whose fields are summed at a time
LEAST_RANGE = 1.0  # µm
SEED = 20_231


def draw(neighbours: Neighbours, weights: F32, range_um: float, centres_um: F64, number: int) -> I64:
    """i64[n]: the reference row that stands for each tile in draw ``number``; the same number, the same draw.

    ``weights`` f32[n, k] of the neighbours, ``centres_um`` f64[n, 2] of the tiles; the fields correlate as
    exp(-distance / ``range_um``).
    """
    from scipy.special import log_ndtr

    rng = np.random.default_rng([SEED, number])
    fields = RandomFields(max(range_um, LEAST_RANGE), int(neighbours.index.max(initial=0)) + 1, rng)
    out = np.empty(len(centres_um), np.int64)
    for start in range(0, len(centres_um), POINTS):
        some = slice(start, start + POINTS)
        index = neighbours.index[some]
        height = fields.at(centres_um[some], index)
        with np.errstate(divide="ignore"):  # a neighbour of weight 0 is never taken
            gumbel = np.log(weights[some]) - np.log(-log_ndtr(height))
        out[some] = np.take_along_axis(index, gumbel.argmax(axis=1)[:, None], axis=1)[:, 0]
    return out


class RandomFields:
    """Independent Gaussian fields over the plane, one for each of n rows: mean 0, variance 1, the correlation
    exp(-distance / ``range_um``): sums of the same plane waves, whose frequencies are those of that correlation,
    each field with amplitudes of its own."""

    def __init__(self, range_um: float, rows: int, rng: np.random.Generator) -> None:
        self._towards = rng.standard_normal((2, WAVES)) / np.abs(rng.standard_normal(WAVES)) / range_um
        self._amplitudes = rng.standard_normal((min(rows, FIELDS), 2 * WAVES), np.float32)

    def at(self, centres_um: F64, rows: I64) -> F64:
        """f64[n, k]: the fields ``rows`` i64[n, k] at ``centres_um`` f64[n, 2]."""
        phase = centres_um @ self._towards
        waves = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(WAVES)
        amplitudes = self._amplitudes[rows % len(self._amplitudes)]
        return np.asarray((amplitudes @ waves.astype(np.float32)[:, :, None])[:, :, 0], np.float64)
