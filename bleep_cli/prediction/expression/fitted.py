"""What neighbours say of tiles where everything is at hand: slope and components are fitted here, not read from a
bundle. Studies of methods and benchmarks predict by this what a bundle of the same spots would."""

from __future__ import annotations

import numpy as np

from bleep_cli.bundle.learned.components import fit_scores
from bleep_cli.bundle.learned.slope import expression_slope
from bleep_cli.choices import Aggregation
from bleep_cli.prediction.expression.correct import offsets
from bleep_cli.prediction.expression.impute import impute_blocks
from bleep_cli.prediction.expression.place import Along, placed
from bleep_cli.types import F32, Neighbours


def fitted_prediction(
    vectors: F32, found: Neighbours, weights: F32, how: Aggregation, *, images: F32, expression: F32, panel: F32
) -> F32:
    """f32[m, g] log1p of tiles at ``vectors`` f32[m, d], whose neighbours weigh ``weights`` f32[m, k].

    Of the reference's n spots: ``images`` f32[n, d], ``expression`` f32[n, g] and, of the tower's panel, ``panel``
    f32[n, p], both log1p as measured.
    """
    along: Along = None
    if how == "corrected":
        along = expression_slope(images, expression)
    elif how == "projected":
        along = fit_scores(panel).tell(images, expression)
    means = impute_blocks(found, weights, expression)
    blocks = placed(means, found, weights, offsets(vectors, found, weights, images), along)
    return np.concatenate([block for _, block in blocks])
