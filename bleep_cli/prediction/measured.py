"""What was measured of each gene in the reference's spots, for a prediction to be seen beside."""

from __future__ import annotations

import numpy as np

from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.types import F32, I64

SPOTS = 2048
"""Spots that are looked at, spread over the whole reference."""
_RUN = 128  # of neighbouring rows, where expression is on disk: few chunks are read then
_GENES = 2048  # looked at together
QUANTILES = {"reference_p01": 0.01, "reference_p99": 0.99}
"""Further columns per gene of a result, and the share of the spots that lie below."""


def measured_range(expression: F32 | StoredExpression) -> dict[str, F32]:
    """f32[g] by the names of :data:`QUANTILES`: log1p expression [n, g] at these shares of the spots, each a value
    that some spot has."""
    n, genes = expression.shape
    rows = _sample(n, _RUN if isinstance(expression, StoredExpression) else 1)
    places = [round(share * (len(rows) - 1)) for share in QUANTILES.values()]
    out = np.empty((len(places), genes), np.float32)
    if isinstance(expression, StoredExpression):
        for columns, values in expression.gene_blocks(rows, 4 * len(rows) * _GENES):
            out[:, columns] = np.partition(values, places, axis=0)[places]
    else:
        for first in range(0, genes, _GENES):
            part = slice(first, first + _GENES)
            out[:, part] = np.partition(expression[rows, part], places, axis=0)[places]
    return dict(zip(QUANTILES, out, strict=True))


def _sample(n: int, run: int) -> I64:
    """At most :data:`SPOTS` of n rows, ascending, in evenly spaced runs of ``run`` rows; all of fewer."""
    if n <= SPOTS:
        return np.arange(n)
    starts = np.linspace(0, n - run, SPOTS // run).round().astype(np.int64)
    return (starts[:, None] + np.arange(run)).ravel()
