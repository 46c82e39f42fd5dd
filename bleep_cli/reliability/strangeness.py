"""How strange a reference's own tiles are to the rest of it, a group left out at a time: what a slide's are
measured by."""

from __future__ import annotations

import numpy as np

from bleep_cli.bundle.learned.looks import Looks, part_distances, scored
from bleep_cli.reliability.groups import By
from bleep_cli.types import F32, I64

LEAST_REACH = 1e-6


def calibrated(looks: F32, spot: I64, group: I64, by: By) -> Looks:
    """The looks f32[m, l] of the spots ``spot`` i64[m] with the distances of each to all but its own ``group``
    i64[m]."""
    tiles = looks.astype(np.float16)
    known = tiles.astype(np.float32)
    distances = np.empty((len(looks), 2))
    for name in np.unique(group):
        inside = group == name
        distances[inside] = part_distances(known[inside], known[~inside])
    middle, far = np.quantile(distances, [0.5, 0.95], axis=0)
    reach = np.maximum(far - middle, LEAST_REACH)
    at, to = (float(middle[0]), float(middle[1])), (float(reach[0]), float(reach[1]))
    return Looks(tiles, spot, np.sort(scored(distances, at, to)), at, to, by)
