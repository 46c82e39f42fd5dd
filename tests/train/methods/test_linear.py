"""Linear methods on frozen features against scikit-learn and by another way, and what they may see."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bleep_train.methods import linear
from bleep_train.methods.linear import PENALTIES, cca, hest_ridge, pls, ridge
from bleep_train.metrics.per_gene import pearson

N, M, D, G = 120, 40, 30, 16
GROUP = np.repeat([0, 1, 2], N // 3)
SETS = {"hvg50": np.array([5, 1, 2]), "all": np.array([5, 1, 2, 8, 9, 10]), "heg50": np.array([2, 14])}


def data(seed: int = 0) -> tuple[Any, Any, Any, Any]:
    """Features with much noise and expression that follows them: genes 0..7 a little, the others hardly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N + M, D))
    signal = x[:, :6] @ rng.normal(size=(6, G))
    y = 2 + signal + rng.normal(size=(N + M, G)) * np.where(np.arange(G) < 8, 4, 14)
    x, y = x.astype(np.float32), y.astype(np.float32)
    return x[:N], y[:N], x[N:], y[N:]


def by_sklearn(x: Any, y: Any, z: Any, penalty: float) -> Any:
    return Ridge(alpha=penalty).fit(x.astype(np.float64), y.astype(np.float64)).predict(z.astype(np.float64))


def best(x: Any, y: Any, genes: Any) -> float:
    """The penalty of the largest mean r over genes with a group left out at a time."""
    scores = []
    for penalty in PENALTIES:
        found = [
            np.nan_to_num(pearson(by_sklearn(x[g != GROUP], y[g != GROUP], x[g == GROUP], penalty), y[g == GROUP]))
            for g in range(3)
        ]
        scores.append(np.mean(found, axis=0)[genes].mean())
    return PENALTIES[int(np.argmax(scores))]


def test_ridge_has_one_penalty_for_the_hvg_and_one_for_all_other_genes() -> None:
    different = False
    for seed in range(4):
        x, y, z, _ = data(seed)
        predicted, chosen = ridge(x, y, z, GROUP, SETS)
        assert chosen == {"hvg50": best(x, y, [1, 2, 5]), "rest": best(x, y, [8, 9, 10])}
        for genes, name in (([1, 2, 5], "hvg50"), ([0, 3, 4, *range(6, G)], "rest")):
            expected = by_sklearn(x, y, z, chosen[name])[:, genes]
            np.testing.assert_allclose(predicted[:, genes], expected, atol=1e-4)
        different |= len(set(chosen.values())) > 1
    assert different


def test_ridge_of_fewer_genes_than_the_first_set_has_one_penalty() -> None:
    x, y, z, _ = data()
    genes = np.arange(4)
    predicted, chosen = ridge(x, y[:, :4], z, GROUP, {"hvg50": genes[::-1], "all": genes})
    assert list(chosen) == ["hvg50"]
    np.testing.assert_allclose(predicted, by_sklearn(x, y[:, :4], z, chosen["hvg50"]), atol=1e-4)
    outside = ridge(x, y, z, GROUP, {"hvg50": genes, "all": genes})[1]  # a marker beside them, that nothing tunes
    assert outside["rest"] == outside["hvg50"]


def test_ridge_does_not_look_at_the_tested_spots() -> None:
    x, y, z, _ = data()
    other = 50 + 9 * z
    together, chosen = ridge(x, y, np.concatenate([z, other]), GROUP, SETS)
    alone, same = ridge(x, y, z, GROUP, SETS)
    assert chosen == same
    np.testing.assert_allclose(together[:M], alone, atol=1e-5)


def test_penalties_go_by_half_decades_from_a_hundredth_to_ten_thousand() -> None:
    assert (PENALTIES[0], PENALTIES[-1]) == (pytest.approx(0.01), pytest.approx(10_000))
    np.testing.assert_allclose(np.diff(np.log10(PENALTIES)), 0.5)


def test_pls_is_scikit_learns_without_scaling_and_finds_the_signal() -> None:
    x, y, z, truth = data()
    expected = PLSRegression(10, scale=False).fit(x.astype(float), y.astype(float)).predict(z.astype(float))
    found = pls(x, y, z)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert pearson(found, truth)[:8].min() > 0.15


def test_pls_of_few_spots_and_of_genes_that_do_not_vary() -> None:
    x, y, z, _ = data()
    y[:, 3] = 7
    found = pls(x[:5], y[:5], z)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[:, 3], 7, atol=1e-4)


def test_hest_ridge_is_its_pipeline_but_for_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "HEST_COMPONENTS", 8)
    x, y, z, _ = data()
    x[:, 4] = z[:, 4] = 3  # a column that does not vary
    scores = make_pipeline(StandardScaler(), PCA(8)).fit(x)
    probe = Ridge(alpha=100 / (8 * G), solver="lsqr", fit_intercept=False, max_iter=1000, tol=1e-8)
    expected = probe.fit(scores.transform(x), y).predict(scores.transform(z))
    np.testing.assert_allclose(hest_ridge(x, y, z), expected + y.mean(axis=0), atol=2e-3)


def test_cca_answers_with_the_mean_of_fifty_training_spots() -> None:
    """Two kinds of spots that features of the first field tell apart: a query gets those of its own kind."""
    rng = np.random.default_rng(0)
    kind = np.tile([0, 1], N // 2)
    x = np.concatenate([4 * kind[:, None] + rng.normal(size=(N, 6)), rng.normal(size=(N, 6))], axis=1)
    y = np.stack([5 * kind, 5 - 5 * kind, kind, 1 - kind], axis=1) + rng.normal(size=(N, 4)) * 0.1
    x, y = x.astype(np.float32), y.astype(np.float32)
    found = cca(x, y[:, :2], y, x[:10], "section", GROUP, [6, 6])
    assert found.shape == (10, 2)
    expected = np.stack([5 * kind[:10], 5 - 5 * kind[:10]], axis=1)
    np.testing.assert_allclose(found, expected, atol=0.3)
    of_training = np.sort(y[kind == 0, 1])
    assert of_training[:50].mean() - 1e-5 <= found[0, 1] <= of_training[-50:].mean() + 1e-5
