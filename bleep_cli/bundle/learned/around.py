"""How strange a tile is with those around it: a change of the whole slide, too small for one tile to show, shows
in twenty."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F32, F64, Bool

SHARE = 0.5
"""Of a score that is of the tiles around; the rest is the tile's own, so that a fold in sound tissue is told."""
MOST = 3.0
"""What a tile counts for at most in the scores of those beside it, so that a stroke of a pen has no halo."""
FEWEST = 4
"""Others within reach, below which a tile is judged by itself."""
MOST_NEAR = 32
"""Others that are counted, the nearest."""
BLOCK = 65_536


@dataclass(frozen=True)
class Around:
    """What scores with those around are measured by."""

    um: float
    """How far those around a tile lie from it at most."""
    left_out: F32
    """f32[c] such scores of the reference's own tiles, each tile against all but its own group's; ascending."""


def with_those_around(scores: F32, xy_um: F64, reach_um: float, counted: Bool) -> tuple[F32, Bool]:
    """Scores f32[n] of tiles at f64[n, 2] with those of the tiles around each, and bool[n] which have enough
    around them; the others keep their own.

    Around a tile lie those within ``reach_um`` that bool[n] ``counted`` counts, and it itself.
    """
    from scipy.spatial import KDTree

    out, enough = scores.copy(), np.zeros(len(scores), bool)
    rows = np.flatnonzero(counted)
    if len(rows) <= FEWEST:
        return out, enough
    tree, bounded = KDTree(xy_um[rows]), np.append(np.minimum(scores[rows], MOST), 0).astype(np.float64)
    for start in range(0, len(scores), BLOCK):
        some = slice(start, start + BLOCK)
        distance, near = tree.query(xy_um[some], k=MOST_NEAR + 1, distance_upper_bound=reach_um)
        within = np.isfinite(distance).sum(axis=1)
        enough[some] = (within > FEWEST) & counted[some]
        mean = bounded[near].sum(axis=1) / np.maximum(within, 1)
        out[some] = np.where(enough[some], (1 - SHARE) * scores[some] + SHARE * mean, scores[some])
    return out, enough
