"""Metrics of maps by hand and by other libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bleep_train.metrics.maps import MAP_METRICS, detection_auc, map_metrics, map_scores, ssim

rng = np.random.default_rng(0)


def test_ssim_by_the_published_product_of_three() -> None:
    measured, predicted = rng.poisson(2, (50, 3)).astype(np.float32), rng.random((50, 3)).astype(np.float32)
    for gene in range(3):
        x, y = predicted[:, gene] / predicted[:, gene].max(), measured[:, gene] / measured[:, gene].max()
        c1, c2 = 0.01**2, 0.03**2
        bright = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
        contrast = (2 * x.std() * y.std() + c2) / (x.var() + y.var() + c2)
        structure = (((x - x.mean()) * (y - y.mean())).mean() + c2 / 2) / (x.std() * y.std() + c2 / 2)
        assert ssim(predicted, measured)[gene] == pytest.approx(bright * contrast * structure, rel=1e-5)
    assert ssim(measured, measured) == pytest.approx(1)
    assert ssim(5 * measured, measured) == pytest.approx(1)  # each side by its own largest value
    nothing = np.zeros((50, 1), np.float32)
    assert ssim(nothing, nothing) == pytest.approx(1)
    assert np.isnan(ssim(np.full((50, 1), np.nan, np.float32), measured[:, :1])).all()


def test_auc_by_scikit_learn() -> None:
    measured = rng.poisson(0.5, (80, 4)).astype(np.float32)
    predicted = np.round(rng.random((80, 4)), 1).astype(np.float32)  # ties
    measured[:, 2], predicted[:, 3] = 1, math.nan
    found = detection_auc(predicted, measured)
    for gene in (0, 1):
        assert found[gene] == pytest.approx(roc_auc_score(measured[:, gene] > 0, predicted[:, gene]))
    assert np.isnan(found[2:]).all()
    assert detection_auc(np.ones((80, 1), np.float32), measured[:, :1]) == pytest.approx(0.5)


def test_scores_of_a_set_by_hand() -> None:
    genes, nan = 60, math.nan
    measured = np.linspace(0, 0.9, genes)
    predicted = measured.copy()
    predicted[[0, 59]] = nan
    metrics = {
        "rmse": np.r_[nan, np.full(59, 2.0)],
        "ssim": np.r_[nan, np.full(59, 0.6)],
        "auc": np.r_[nan, nan, np.full(58, 0.9)],  # the first was not predicted, the second is everywhere
        "moran_measured": measured,
        "moran_predicted": predicted,
        "p": np.zeros(genes),
        "q": np.r_[nan, np.full(9, 0.04), np.full(50, 0.06)],
    }
    found = map_scores(metrics, np.arange(genes))
    assert found["rmse"] == 2
    assert found["ssim"] == pytest.approx(0.59)
    assert found["auc"] == pytest.approx((0.5 + 58 * 0.9) / 59)
    assert found["moran_r"] == pytest.approx(1)
    assert found["svg_hits"] == pytest.approx(49 / 50)
    assert found["significant"] == 9
    assert map_scores(metrics, np.arange(10))["svg_hits"] == pytest.approx(0.9)


def test_all_of_them_at_once() -> None:
    xy = np.stack(np.meshgrid(np.arange(10.0), np.arange(8.0)), axis=-1).reshape(-1, 2)
    measured = rng.poisson(1, (80, 5)).astype(np.float32)
    found = map_metrics(measured, measured, xy, np.array(["a"] * 80), np.array([0, 2]))
    assert tuple(found) == MAP_METRICS
    assert np.isnan(found["q"]).tolist() == [False, True, False, True, True]
    assert found["rmse"] == pytest.approx(0)
    assert map_scores(found, np.array([0, 2]))["significant"] == 2
