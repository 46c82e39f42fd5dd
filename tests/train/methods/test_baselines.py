"""Baselines against scikit-learn and by hand, and that they know nothing of the spots they are tested on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.preprocessing import StandardScaler

from bleep_cli.genes.normalise import log1p_normalise
from bleep_train.config.schema import Config, DataConfig
from bleep_train.methods import linear
from bleep_train.methods.folds import PARTS, Study
from bleep_train.methods.linear import COLUMN_PENALTIES, ridge_columns
from bleep_train.methods.simple import knn, mean_predictor, shuffled_rows
from bleep_train.metrics.per_gene import pearson, score

N, M, D, G = 90, 30, 24, 12
ALL = np.arange(G)
ONE = np.zeros(N, np.int64)


def data(seed: int = 0, noise: float = 1.0) -> tuple[Any, Any, Any, Any]:
    """Features on many scales with one that is constant, and expression that follows them linearly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N + M, D)) * 10 ** rng.uniform(-3, 3, D) + rng.normal(size=D)
    x[:, 3] = 7
    signal = (x - x.mean(axis=0)) / np.where(x.std(axis=0) > 0, x.std(axis=0), 1) @ rng.normal(size=(D, G))
    y = signal + noise * signal.std() * rng.normal(size=(N + M, G)) + 5
    x, y = x.astype(np.float32), y.astype(np.float32)
    return x[:N], y[:N], x[N:], y[N:]


def by_sklearn(x: Any, y: Any, z: Any, alpha: float) -> Any:
    scaler = StandardScaler().fit(x.astype(np.float64))
    model = Ridge(alpha=alpha).fit(scaler.transform(x.astype(np.float64)), y.astype(np.float64))
    return model.predict(scaler.transform(z.astype(np.float64)))


@pytest.mark.parametrize("alpha", COLUMN_PENALTIES)
def test_ridge_is_sklearns(monkeypatch: pytest.MonkeyPatch, alpha: float) -> None:
    x, y, z, _ = data()
    monkeypatch.setattr(linear, "COLUMN_PENALTIES", (alpha,))
    predicted, chosen = ridge_columns(x, y, z, ONE, ALL)
    assert chosen == alpha
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, by_sklearn(x, y, z, alpha), rtol=0, atol=1e-4)


def best_by_sklearn(x: Any, y: Any, folds: list[Any], genes: Any) -> float:
    """The penalty with the highest mean r on the spots left out, features scaled over all training spots."""
    scaled = StandardScaler().fit_transform(x.astype(np.float64))
    scores = []
    for alpha in COLUMN_PENALTIES:
        r = 0.0
        for rows in folds:
            kept = np.setdiff1d(np.arange(len(x)), rows)
            predicted = Ridge(alpha=alpha).fit(scaled[kept], y[kept][:, genes]).predict(scaled[rows])
            r += float(np.nan_to_num(pearson(predicted, y[rows][:, genes])).mean())
        scores.append(r)
    return COLUMN_PENALTIES[int(np.argmax(scores))]


def test_the_penalty_is_chosen_over_sections_left_out() -> None:
    """Three sections whose offset the features give away: within a section little is to be learned from it."""
    seen = set()
    for seed in range(6):
        x, y, z, _ = data(seed, noise=0.3 + 2 * seed)
        groups = np.repeat([4, 1, 9], N // 3)
        y = y + 3 * groups[:, None]
        x[:, 0] += 1000 * groups
        folds = [np.flatnonzero(groups == g) for g in (1, 4, 9)]
        predicted, alpha = ridge_columns(x, y, z, groups, ALL)
        assert alpha == best_by_sklearn(x, y, folds, ALL)
        np.testing.assert_allclose(predicted, by_sklearn(x, y, z, alpha), rtol=0, atol=2e-4)
        seen.add(alpha)
    assert len(seen) > 1


@pytest.mark.slow
def test_the_penalty_of_one_section_is_chosen_over_blocks_of_spots() -> None:
    seen = set()
    for seed in range(6):
        x, y, z, _ = data(seed, noise=0.3 + 2 * seed)
        genes = np.array([1, 4, 7])
        _, alpha = ridge_columns(x, y, z, ONE, genes)
        assert alpha == best_by_sklearn(x, y, np.array_split(np.arange(N), 5), genes)
        seen.add(alpha)
    assert len(seen) > 1


def test_the_tested_spots_decide_nothing() -> None:
    x, y, z, _ = data()
    other = z + 100 * np.random.default_rng(3).normal(size=z.shape).astype(np.float32)
    together, alpha = ridge_columns(x, y, np.concatenate([z, other]), ONE, ALL)
    alone, same = ridge_columns(x, y, z, ONE, ALL)
    assert alpha == same
    np.testing.assert_allclose(together[:M], alone, atol=1e-5)  # neither the scaling nor the fit saw the others
    assert np.abs(together[M:] - alone).max() > 0.1


def test_ridge_finds_what_is_there_and_survives_genes_that_do_not_vary() -> None:
    x, y, z, truth = data(noise=0.05)
    y[:, 2] = 4
    predicted, _ = ridge_columns(x, y, z, ONE, ALL)
    r = pearson(predicted, truth)
    assert np.delete(r, 2).min() > 0.9
    np.testing.assert_allclose(predicted[:, 2], 4, atol=1e-5)


def test_mean_predictor_is_the_training_mean() -> None:
    y = np.array([[0, 1], [2, 5]], np.float32)
    predicted = mean_predictor(y, 3)
    assert predicted.tolist() == [[1, 3]] * 3
    assert predicted.dtype == np.float32
    assert np.isnan(pearson(predicted, np.array([[0, 1], [2, 5], [1, 1]], np.float32))).all()


def test_shuffled_rows_are_a_permutation_that_repeats_by_seed() -> None:
    rows = shuffled_rows(100, 0)
    assert sorted(rows) == list(range(100))
    assert (rows == np.arange(100)).sum() < 10
    assert np.array_equal(rows, shuffled_rows(100, 0))
    assert not np.array_equal(rows, shuffled_rows(100, 1))


def test_knn_by_hand() -> None:
    """Nearest by direction, whatever the length; of two alike the first; no more neighbours than there are."""
    x = np.array([[1, 0], [5, 5], [0, 2], [-3, 0]], np.float32)
    y = np.array([[0, 1], [2, 1], [4, 1], [8, 1]], np.float32)
    z = np.array([[9, 1], [0.1, 0.3], [-1, -1]], np.float32)
    assert knn(x, y, z, 1).tolist() == [[0, 1], [4, 1], [8, 1]]
    assert knn(x, y, z, 2).tolist() == [[1, 1], [3, 1], [4, 1]]  # the last: -3, 0 first, then 1, 0 and 0, 2 tie
    assert knn(x, y, z, 50).tolist() == [[3.5, 1]] * 3


# --- through the evaluator: a study whose features are known


def test_ridge_of_one_feature_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standardised, x is ∓1 and its penalised slope is 4 / (4 + 10); the second gene does not vary."""
    monkeypatch.setattr(linear, "COLUMN_PENALTIES", (10.0,))
    x, z = np.array([[0], [2], [0], [2]], np.float32), np.array([[3], [1], [-1]], np.float32)
    y = np.array([[1, 7], [3, 7], [1, 7], [3, 7]], np.float32)
    predicted, _ = ridge_columns(x, y, z, np.array([0, 0, 1, 1]), np.array([0, 1]))
    np.testing.assert_allclose(predicted, [[2 + 4 / 7, 7], [2, 7], [2 - 4 / 7, 7]], rtol=1e-6)
    measured = np.array([[5, 7], [4, 7], [3, 7]], np.float32)
    scored = score(predicted, measured, {"all": np.array([0, 1]), "hvg50": np.array([0])})
    assert (scored["hvg50"], scored["all"], scored["n_nan"]) == (pytest.approx(1), pytest.approx(0.5), 1)
    assert scored["variance_ratio"] == pytest.approx((4 / 7) ** 2)


@pytest.fixture
def gaps(make_sections: Callable[..., Path]) -> Path:
    """Three sections: GENE3 is not in S1, GENE5 has no count in it; in S0 the first spot has counts in GENE3
    alone, the second has none at all."""
    cohort = make_sections(("st", "st", "st"))
    cohort.write_text("min_counts = 0\n\n" + cohort.read_text())  # the first spot of S0 has nine
    for name, change in {"S0": _empty_spots, "S1": _missing_gene}.items():
        file = cohort.parent / f"{name}.tsv"
        table = pd.read_csv(file, sep="\t", index_col=0)
        change(table).to_csv(file, sep="\t", index_label="")
    return cohort


def _empty_spots(table: Any) -> Any:
    table.iloc[:2] = 0
    table.loc[table.index[0], "GENE3"] = 9
    return table


def _missing_gene(table: Any) -> Any:
    table["GENE5"] = 0
    return table.drop(columns="GENE3")


def test_spots_without_counts_and_genes_that_are_missing_or_flat_make_no_nan(gaps: Path, tmp_path: Path) -> None:
    study = Study(gaps, Config(data=DataConfig(tile_um=(64.0,), tile_px=16)), tmp_path / "cache")
    assert any(
        "1 spots without a single molecule were dropped" in str(found) for found in study.sections[0].findings
    )
    for fold in study.folds("section"):
        data = study.data(fold)
        assert np.isfinite(data.train_y).all()
        # S1 does not measure GENE3: not among the genes where it is trained on, absent where it is tested
        assert ("GENE3" in data.symbols) == (fold.name == "S1")
        absent = (data.symbols == "GENE3") & (fold.name == "S1")
        np.testing.assert_array_equal(np.isnan(data.test_y), np.broadcast_to(absent, data.test_y.shape))
        x, z = (
            np.concatenate([t.mean(axis=(1, 2), dtype=np.float32) for t in data.tiles(which)]) for which in PARTS
        )
        for predicted in (
            ridge_columns(x, data.train_y, z, data.groups, data.sets["all"])[0],
            knn(x, data.train_y, z),
        ):
            assert np.isfinite(predicted).all()
            r = pearson(predicted, data.test_y)
            flat = (data.symbols == "GENE5") & (fold.name == "S1")
            np.testing.assert_array_equal(np.isnan(r), flat | absent)
            assert r[(data.symbols != "GENE5") & ~absent].min() > 0.4
            scored = score(predicted, data.test_y, data.sets)
            assert (scored["n_nan"], scored["n_absent"]) == (flat.sum(), absent.sum())
            assert scored["all"] == pytest.approx(np.nan_to_num(r[data.sets["all"]]).sum() / (~absent).sum())


def test_log1p_of_a_spot_without_counts_is_zero() -> None:
    found = log1p_normalise(sparse.csr_matrix(np.array([[0, 0], [1, 3]], np.float32)))
    np.testing.assert_allclose(found.toarray(), [[0, 0], np.log1p([2500, 7500])], rtol=1e-6)
