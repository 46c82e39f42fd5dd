"""The rows that every result is shown beside: neighbours on frozen features, the mean, shuffled spots."""

from __future__ import annotations

import numpy as np

from bleep_cli.prediction.expression.impute import impute_blocks, weigh
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, I64

NEIGHBOURS = 50  # as many as BLEEP averages (paper section 3)
SHUFFLES = 20  # one permutation alone can be off zero by chance: neighbouring spots resemble each other


def knn(train_x: F32, train_y: F32, test_x: F32, k: int = NEIGHBOURS) -> F32:
    """The mean expression of the ``k`` training spots whose frozen features are nearest by cosine.

    ``train_x`` f32[n, d], ``train_y`` f32[n, g], ``test_x`` f32[m, d] → f32[m, g]. Ties go to the first spot. It
    is BLEEP's query without its learned space, through the same search and averaging.
    """
    found = ExactIndex(unit(train_x)).search(unit(test_x), k)
    return np.concatenate([block for _, block in impute_blocks(found, weigh(found, "average"), train_y)])


def mean_predictor(train_y: F32, spots: int) -> F32:
    """The training mean for every spot: f32[spots, g]. Its r is undefined, its error is not."""
    return np.tile(train_y.mean(axis=0), (spots, 1)).astype(np.float32)


def shuffled_rows(n: int, seed: int) -> I64:
    """A permutation of n spots: the prediction for another spot's image."""
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


def shuffles(predicted: F32) -> list[F32]:
    """A prediction f32[m, g] given to other spots, in ``SHUFFLES`` permutations."""
    return [predicted[shuffled_rows(len(predicted), seed)] for seed in range(SHUFFLES)]
