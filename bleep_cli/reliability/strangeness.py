"""How strange a reference's own tiles are to the rest of it, a group left out at a time: what a slide's are
measured by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.bundle.learned.around import MOST_NEAR, Around, with_those_around
from bleep_cli.bundle.learned.looks import Looks, part_distances, scored
from bleep_cli.cohort.patches import parts_of
from bleep_cli.reliability.groups import By
from bleep_cli.reliability.left_out import drawn
from bleep_cli.types import F32, F64, I64, Bool, Str

LEAST_REACH = 1e-6
AROUND_SPOTS = 2_000
"""Of a reference so large that it keeps an even draw of its tiles, those whose surroundings are looked at."""


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


@dataclass(frozen=True)
class Spots:
    """n spots of a reference whose looks are known."""

    looks: F32
    """f32[n, l]."""
    group: I64
    """i64[n] what is left out at a time."""
    section: Str
    """str[n]."""
    xy_um: F64
    """f64[n, 2] inside their sections."""


def left_out_around(found: Looks, drawn_rows: I64, spots: Spots, reach_um: float) -> Around | None:
    """What scores with those around are measured by: such scores of the reference's own spots.

    The tiles of ``found`` are those of the rows i64[m] of ``spots``. None where no spot has enough others within
    ``reach_um``.
    """
    tiles, n = found.tiles.astype(np.float32), len(spots.group)
    chosen = np.zeros(n, bool)
    chosen[drawn(spots.group, n if len(tiles) == n else AROUND_SPOTS)] = True
    scores = [np.empty(0, np.float32)]
    for part in parts_of(spots.section):
        rows = part[_near(spots.xy_um[part], chosen[part], reach_um)]
        own = np.empty(len(rows), np.float32)
        for name in np.unique(spots.group[rows]):
            inside = spots.group[rows] == name
            others = tiles[spots.group[drawn_rows] != name]
            distances = part_distances(spots.looks[rows[inside]], others)
            own[inside] = scored(distances, found.middle, found.reach)
        together, enough = with_those_around(own, spots.xy_um[rows], reach_um, np.ones(len(rows), bool))
        scores.append(together[enough & chosen[rows]])
    told = np.sort(np.concatenate(scores))
    return Around(reach_um, told) if len(told) else None


def _near(xy_um: F64, chosen: Bool, reach_um: float) -> I64:
    """Which of n spots are chosen or around one that is, i64[m] ascending."""
    from scipy.spatial import KDTree

    if chosen.all() or not chosen.any():
        return np.flatnonzero(chosen)
    near = KDTree(xy_um).query(xy_um[chosen], k=MOST_NEAR + 1, distance_upper_bound=reach_um)[1]
    return np.asarray(np.setdiff1d(near, [len(xy_um)]), np.int64)
