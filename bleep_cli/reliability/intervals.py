"""How far predictions of left-out spots miss, gene by gene, as shares of the spots: split-conformal intervals
scaled by the spread of the neighbours (Lei et al. 2018, J. Am. Stat. Assoc. 113)."""

from __future__ import annotations

import numpy as np

from bleep_cli.reliability.left_out import LeftOut
from bleep_cli.types import F32

LEVELS = np.array([0.005, 0.01, 0.025, *np.arange(0.05, 0.96, 0.05).round(2), 0.975, 0.99, 0.995], np.float32)
"""Shares of the spots that are kept; between them is interpolated."""
LEAST_SCALE = 1e-3  # log1p, for genes whose neighbours never differ


def interval_scores(left_out: LeftOut) -> tuple[np.ndarray, F32]:
    """Scores f16[g, q] at :data:`LEVELS`, and floors f32[g].

    The score of a spot is (measured - predicted) / (spread + floor), the floor being the mean spread of the gene.
    Of m scores the one at a level is the next further from the middle, as the finite sample asks for: level times
    (m + 1), rounded outwards.
    """
    scores = np.empty((left_out.genes, len(LEVELS)), np.float16)
    floors = np.empty(left_out.genes, np.float32)
    m = len(left_out.spots)
    rank = LEVELS.astype(np.float64) * (m + 1)
    place = np.where(LEVELS < 0.5, np.floor(rank + 1e-6), np.ceil(rank - 1e-6)).astype(np.int64) - 1
    for genes, predicted, spread, measured in left_out.blocks():
        floor = np.maximum(spread.mean(axis=0, dtype=np.float64), LEAST_SCALE).astype(np.float32)
        ordered = np.sort((measured - predicted) / (spread + floor), axis=0)
        found = ordered[np.clip(place, 0, m - 1)].T
        scores[genes] = np.clip(found, -60_000, 60_000)
        floors[genes] = floor
    return scores, floors
