"""The rows that every result is shown beside: ridge and neighbours on frozen features, mean, shuffled spots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.prediction.impute import impute_blocks, weigh
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, I64
from bleep_train.metrics.per_gene import pearson

ALPHAS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
FOLDS = 5
NEIGHBOURS = 50  # as many as BLEEP averages (paper section 3)
SHUFFLES = 20  # one permutation alone can be off zero by chance: neighbouring spots resemble each other


def ridge(train_x: F32, train_y: F32, test_x: F32, groups: I64, tuning_genes: I64) -> tuple[F32, float]:
    """Ridge regression of log1p expression on standardised frozen features.

    ``train_x`` f32[n, d], ``train_y`` f32[n, g], ``test_x`` f32[m, d] → f32[m, g] and the penalty, chosen
    inside the training spots: a group (section) left out at a time, or five blocks of spots where there is
    one group, by the mean r over ``tuning_genes``.
    """
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    std = np.where(std > 1e-6, std, 1.0)
    x, z = (train_x - mean) / std, (test_x - mean) / std
    scores = np.zeros(len(ALPHAS))
    for rows in _folds(groups):
        inside = np.ones(len(x), bool)
        inside[rows] = False
        target = train_y[:, tuning_genes]
        for i, predicted in enumerate(_fit(x[inside], target[inside], x[rows], ALPHAS)):
            scores[i] += np.nan_to_num(pearson(predicted, target[rows])).mean()
    alpha = ALPHAS[int(scores.argmax())]
    return _fit(x, train_y, z, (alpha,))[0], alpha


def _folds(groups: I64) -> list[I64]:
    names = np.unique(groups)
    if len(names) > 1:
        return [np.flatnonzero(groups == name) for name in names]
    return [part.astype(np.int64) for part in np.array_split(np.arange(len(groups)), min(FOLDS, len(groups)))]


def _fit(x: F32, y: F32, z: F32, alphas: Sequence[float]) -> list[F32]:
    """Predictions for ``z`` at each penalty, in the dual: one decomposition of the n × n Gram matrix."""
    x_mean, y_mean = x.mean(axis=0), y.mean(axis=0)
    x, z = x - x_mean, z - x_mean
    values, vectors = np.linalg.eigh(x.astype(np.float64) @ x.T)
    rotated = vectors.T @ (y - y_mean)
    cross = (z @ x.T) @ vectors
    return [(cross @ (rotated / (values + a)[:, None]) + y_mean).astype(np.float32) for a in alphas]


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
