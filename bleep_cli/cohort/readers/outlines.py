"""Centroids of outlines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.types import F64


def ring_centroid(rings: Sequence[F64]) -> F64:
    """f64[2] the centroid of the area inside rings f64[m, 2], which do not overlap; of their points where they
    enclose none."""
    area, moment = 0.0, np.zeros(2)
    for ring in rings:
        at = ring - ring[0]  # near the origin, so that large coordinates do not eat the digits
        after = np.roll(at, -1, axis=0)
        cross = at[:, 0] * after[:, 1] - after[:, 0] * at[:, 1]
        own = float(cross.sum()) / 2
        area += abs(own)
        moment += abs(own) * ring[0] + np.sign(own) * ((at + after) * cross[:, None]).sum(axis=0) / 6
    return moment / area if area > 0 else np.concatenate(rings).mean(axis=0)
