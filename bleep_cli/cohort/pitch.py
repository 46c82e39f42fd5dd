"""How far neighbouring spots lie apart."""

from __future__ import annotations

import numpy as np

from bleep_cli.types import F64

NEXT_TO = 1.25  # spots up to this many times the least distance are neighbours; a square's diagonal is 1.41 of it


def pitch(xy: F64) -> float:
    """The step between neighbouring spots: the median distance to the nearest other, in the unit of xy f64[n, 2].

    1 where there are fewer than two spots.
    """
    from scipy.spatial import KDTree

    if len(xy) < 2:
        return 1.0
    distance = np.asarray(KDTree(xy).query(xy, k=2)[0])[:, 1]
    return float(np.median(distance)) or 1.0


def neighbour_distance(xy: F64) -> float:
    """The pitch of spots f64[n, 2] on a square or hexagonal array, in the unit of ``xy``; n of two or more.

    The median over all pairs of neighbours, not over nearest ones: of positions that scatter, these are too near.
    """
    from scipy.spatial import KDTree

    tree = KDTree(xy)
    least = float(np.median(tree.query(xy, k=2)[0][:, 1]))
    pairs = tree.query_pairs(NEXT_TO * least, output_type="ndarray")
    return float(np.median(np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1)))
