"""The spread of neighbours around their mean, in memory and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import sparse

from bleep_cli.bundle.open import open_bundle
from bleep_cli.prediction.expression.spread import mean_and_spread
from bleep_cli.types import F32, Neighbours


def queries(n: int, spots: int, k: int) -> tuple[Neighbours, F32]:
    rng = np.random.default_rng(0)
    index = np.stack([rng.permutation(spots)[:k] for _ in range(n)])
    weights = rng.random((n, k)).astype(np.float32)
    return Neighbours(index, np.ones_like(weights)), weights / weights.sum(axis=1, keepdims=True)


def test_it_is_the_weighted_standard_deviation() -> None:
    expression = np.random.default_rng(1).gamma(1.0, 1.0, (30, 11)).astype(np.float32)
    found, weights = queries(9, 30, 5)
    near = expression[found.index].astype(np.float64)
    mean = (weights[..., None] * near).sum(axis=1)
    spread = np.sqrt((weights[..., None] * (near - mean[:, None]) ** 2).sum(axis=1))
    for held in (expression, sparse.csr_matrix(expression)):
        blocks = list(mean_and_spread(found, weights, held, block_rows=4))
        assert [first for first, *_ in blocks] == [0, 4, 8]
        np.testing.assert_allclose(np.concatenate([m for _, m, _ in blocks]), mean, atol=1e-5)
        np.testing.assert_allclose(np.concatenate([s for *_, s in blocks]), spread, atol=1e-3)


def test_on_disk_gives_the_same(small_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)
    stored = bundle.expression_to_average(np.arange(len(bundle.symbols))[::-1].copy(), 0)
    held = np.asarray(bundle.expression_rows()[:], np.float32)[:, ::-1]
    found, weights = queries(40, bundle.n_spots, 6)
    for (_, *on_disk), (_, *dense) in zip(
        mean_and_spread(found, weights, stored, 16), mean_and_spread(found, weights, held, 16), strict=True
    ):
        np.testing.assert_allclose(on_disk, dense, atol=1e-5)
