"""Linear methods on frozen features: ridge, partial least squares, canonical correlation, HEST-Bench's probe.

``x`` are features averaged over the eight views; where they are called *scaled*, each block of them (a stage of a
field of view) was scaled so that none outweighs another by having more columns (``towers/levels.py``).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from bleep_cli.fitting.cca import Side, decompose, fit_heads
from bleep_cli.fitting.choose import choose
from bleep_cli.reliability.groups import By
from bleep_cli.types import F32, F64, I64
from bleep_train.methods.simple import NEIGHBOURS, knn
from bleep_train.metrics.per_gene import pearson

PENALTIES = tuple(10.0 ** (k / 2) for k in range(-4, 9))  # 0.01 to 10,000 by half-decades
COLUMN_PENALTIES = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
BLOCKS = 5
PLS_COMPONENTS = 10
HEST_COMPONENTS, HEST_PENALTY = 256, 100.0


def ridge(
    train_x: F32, train_y: F32, test_x: F32, group: I64, sets: Mapping[str, I64]
) -> tuple[F32, dict[str, float]]:
    """Ridge regression of log1p expression on scaled features.

    ``train_x`` f32[n, d], ``train_y`` f32[n, g], ``test_x`` f32[m, d], ``group`` i64[n] → f32[m, g] and two
    penalties by name. A group (donor, section or block, see ``held_out_groups``) is left out at a time among the
    training spots. The genes of ``hvg50`` share the penalty that gives them the largest mean r; all other genes
    share the one that does so for the others of ``all``.
    """
    parts = _parts(sets, train_y.shape[1])
    r = np.zeros((len(PENALTIES), train_y.shape[1]))
    for name in np.unique(group):
        outside = group == name
        side = decompose(train_x[~outside])
        for i, found in enumerate(_predictions(side, train_y[~outside], train_x[outside], PENALTIES)):
            r[i] += np.nan_to_num(pearson(found, train_y[outside]))
    side, chosen = decompose(train_x), {}
    out = np.empty((len(test_x), train_y.shape[1]), np.float32)
    for name, (fitted, tuned) in parts.items():
        chosen[name] = PENALTIES[int(r[:, tuned].mean(axis=1).argmax())]
        out[:, fitted] = _predictions(side, train_y[:, fitted], test_x, (chosen[name],))[0]
    return out, chosen


def _parts(sets: Mapping[str, I64], genes: int) -> dict[str, tuple[I64, I64]]:
    """Genes of one penalty, and those it is tuned by: every gene is in one part, whatever sets it is in."""
    first, rest = np.unique(sets["hvg50"]), np.setdiff1d(np.arange(genes), sets["hvg50"])
    tuned = np.setdiff1d(sets["all"], first)
    found = {"hvg50": (first, first), "rest": (rest, tuned if len(tuned) else first)}
    return {name: part for name, part in found.items() if len(part[0])}


def ridge_columns(train_x: F32, train_y: F32, test_x: F32, groups: I64, tuning_genes: I64) -> tuple[F32, float]:
    """Ridge regression on features whose every column is scaled to unit deviation, one penalty for all genes.

    Shapes as in :func:`ridge`. The penalty, by decades, is the one of the largest mean r over ``tuning_genes``
    with a group (section) left out at a time, or a fifth of the spots in their order where there is one group.
    """
    mean, std = train_x.mean(axis=0), train_x.std(axis=0)
    std = np.where(std > 1e-6, std, 1.0)
    x, z = (train_x - mean) / std, (test_x - mean) / std
    scores = np.zeros(len(COLUMN_PENALTIES))
    target = train_y[:, tuning_genes]
    for rows in _in_order(groups):
        inside = np.ones(len(x), bool)
        inside[rows] = False
        found = _predictions(decompose(x[inside]), target[inside], x[rows], COLUMN_PENALTIES)
        scores += [np.nan_to_num(pearson(predicted, target[rows])).mean() for predicted in found]
    penalty = COLUMN_PENALTIES[int(scores.argmax())]
    return _predictions(decompose(x), train_y, z, (penalty,))[0], penalty


def _in_order(groups: I64) -> list[I64]:
    names = np.unique(groups)
    if len(names) > 1:
        return [np.flatnonzero(groups == name) for name in names]
    return [part.astype(np.int64) for part in np.array_split(np.arange(len(groups)), min(BLOCKS, len(groups)))]


def pls(train_x: F32, train_y: F32, test_x: F32, components: int = PLS_COMPONENTS) -> F32:
    """Partial least squares (Wold; NIPALS with deflation of both sides, scikit-learn) on scaled features, centred.

    Shapes as in :func:`ridge`. No column is scaled, and nothing is tuned: ten components, fewer where the data has
    no more. A component that 500 iterations do not settle is taken as it is.
    """
    from sklearn.cross_decomposition import PLSRegression

    count = min(components, len(train_x) - 1, train_x.shape[1])
    model = PLSRegression(count, scale=False, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of iterations, and of expression that is constant or used up
        model.fit(train_x.astype(np.float64), train_y.astype(np.float64))
    return np.asarray(model.predict(test_x.astype(np.float64)), np.float32)


def cca(train_x: F32, train_y: F32, panel: F32, test_x: F32, by: By, group: I64, widths: Sequence[int]) -> F32:
    """The closed-form towers of ``bleep build-reference`` on scaled features, asked as a bundle is: the mean of
    the 50 spots whose expression embeddings are nearest by cosine.

    Shapes as in :func:`ridge`; ``panel`` f32[n, p] is what the expression head takes, ``widths`` are the columns
    of each field of view. Fields, components and penalty are chosen with a group left out at a time
    (``bleep_cli/fitting/choose.py``).
    """
    ends = np.cumsum(widths)
    choice = choose([train_x[:, :end] for end in ends], panel, by, group, NEIGHBOURS)
    end = ends[choice.fields - 1]
    image, spot = fit_heads(decompose(train_x[:, :end]), decompose(panel, choice.components), choice.penalty)
    return knn(spot(panel), train_y, image(test_x[:, :end]))


def hest_ridge(train_x: F32, train_y: F32, test_x: F32) -> F32:
    """HEST-Bench's probe (Jaume et al. 2024; ``train_test_reg`` and ``predict_single_split`` of its published
    code): columns scaled to unit deviation, 256 principal components, ridge of penalty 100 / (components × genes).

    Shapes as in :func:`ridge`. The published code fits without an intercept; the training mean is added here,
    which moves every prediction of a gene alike and so changes no correlation. Solved exactly, there by LSQR.
    """
    mean, std = train_x.mean(axis=0, dtype=np.float64), train_x.std(axis=0, dtype=np.float64)
    std = np.where(std > 1e-6, std, 1.0)
    side = decompose(np.asarray((train_x - mean) / std, np.float32), HEST_COMPONENTS)
    penalty = HEST_PENALTY / (len(side.scale) * train_y.shape[1])
    return _predictions(side, train_y, np.asarray((test_x - mean) / std, np.float32), (penalty,))[0]


def _predictions(side: Side, y: F32, z: F32, penalties: Sequence[float]) -> list[F32]:
    """f32[m, g] for the rows ``z`` f32[m, d] at each penalty; ``side`` decomposes the rows that ``y`` is of."""
    mean = y.mean(axis=0, dtype=np.float64)
    rotated: F64 = side.left.T @ (y - mean)
    seen = (z - side.mean) @ side.basis
    shrunk = [side.scale / (side.scale**2 + penalty) for penalty in penalties]
    return [np.asarray((seen * weight) @ rotated + mean, np.float32) for weight in shrunk]
