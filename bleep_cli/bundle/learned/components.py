"""Expression as the principal components of a reference see it, for predictions that are projected on them
(``prediction/expression/project.py``).

What varies together over many genes of the panel is biology, what varies in one gene alone is mostly the noise of
counting. So every gene is told by the spots' scores on the leading principal components of the panel's log1p
expression: ridge regression, whose penalty is the largest squared singular value that noise alone of the same
total variance would have (Marchenko & Pastur 1967, Math. USSR Sb. 1). A component well above it is kept whole, one
at it to a half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.gram import leading
from bleep_cli.base.rows import Rows, dense_rows, row_blocks
from bleep_cli.bundle.learned.slope import RIDGE, ROW_BLOCK, SHARE, expression_slope, ridge_regression
from bleep_cli.bundle.storage.arrays import Group
from bleep_cli.bundle.stored import SLOPE as EXPRESSION_SLOPE
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.types import F32, F64, I64

COMPONENTS = "components"
"""The group that a bundle keeps them in."""
DTYPES = {"scores": "<f4", "slope": "<f4", "loadings": "<f4", "mean": "<f4"}
SCORES, SLOPE, LOADINGS = f"{COMPONENTS}/scores", f"{COMPONENTS}/slope", f"{COMPONENTS}/loadings"
MOST = 100
"""Components at most: those beyond say next to nothing, and each costs a number per spot and per gene."""


@dataclass(frozen=True)
class Components:
    """Expression [n, g] of a reference as c components see it: ``mean + scores · loadings``."""

    scores: F32
    """f32[n, c] of its spots."""
    slope: F32
    """f32[d, c]: how scores change along the image embedding."""
    loadings: F32
    """f32[c, g]."""
    mean: F32
    """f32[g] log1p."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n spots, g genes)."""
        return len(self.scores), len(self.mean)

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return int(self.scores.nbytes + self.slope.nbytes + self.loadings.nbytes + self.mean.nbytes)

    def seen(self, rows: I64) -> F32:
        """f32[m, g] log1p of the spots ``rows`` i64[m]; a little below 0 where nothing was measured."""
        return np.asarray(self.mean + self.scores[rows].astype(np.float64) @ self.loadings, np.float32)

    def arrays(self) -> Mapping[str, F32]:
        """By path in a bundle."""
        return {f"{COMPONENTS}/{name}": np.asarray(getattr(self, name), dtype) for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Scores:
    """The spots' scores f32[n, c] on the principal components of their panel, and the penalty per spot of what is
    told by them."""

    values: F32
    penalty: float

    def tell(self, images: Rows, expression: Rows, ridge: float = RIDGE, share: float = SHARE) -> Components:
        """What they say of expression [n, g], which is read once; ``images`` f32[n, d], ``ridge`` and ``share`` as
        ``expression_slope`` takes them."""
        mean, loadings = ridge_regression(self.values, expression, self.penalty)
        slope = expression_slope(images, self.values, ridge, share)
        return Components(self.values, slope, np.asarray(loadings, np.float32), np.asarray(mean, np.float32))


def read_components(root: Group, bundle: str, read: Callable[[str], NDArray[Any]], columns: I64) -> Components:
    """Those that a bundle keeps, of its genes ``columns`` i64[g].

    Raises ``UsageError`` for a bundle without them, ``ReferenceError`` for damaged ones.
    """
    if COMPONENTS not in root:
        instead = "corrected" if EXPRESSION_SLOPE in root else "average"
        raise UsageError(
            f"{option('aggregation')} projected: {bundle} holds no components of expression; use "
            f"{option('aggregation')} {instead}, or build it anew with bleep build-reference"
        )
    found = {name: np.asarray(read(f"{COMPONENTS}/{name}"), np.float32) for name in DTYPES}
    if not all(np.isfinite(values).all() for values in found.values()):
        raise ReferenceError(f"{bundle}: {COMPONENTS} holds NaN or infinity")
    return Components(found["scores"], found["slope"], found["loadings"][:, columns], found["mean"][columns])


def fit_scores(panel: Rows) -> Scores:
    """Of the log1p expression [n, p] of the panel's genes, which is read three times, some rows at a time."""
    n, p = panel.shape
    mean: F64 = np.zeros(p)
    gram: F64 = np.zeros((p, p))
    for block in row_blocks(panel, ROW_BLOCK):
        mean += dense_rows(block).sum(axis=0, dtype=np.float64)
    mean /= n
    for block in row_blocks(panel, ROW_BLOCK):
        centred = dense_rows(block) - mean
        gram += centred.T @ centred
    _, basis = leading(gram, MOST)
    scores = [(dense_rows(block) - mean) @ basis for block in row_blocks(panel, ROW_BLOCK)]
    edge = float(np.trace(gram)) / max(n * p, 1) * (np.sqrt(n) + np.sqrt(p)) ** 2
    return Scores(np.asarray(np.concatenate(scores), np.float32), edge / n)
