"""Projected predictions: components and formula by NumPy alone, the same numbers through every door."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicted_slides import K, base_grown_whole, predicted, values
from scipy import sparse

from bleep_cli.base.rows import PickedColumns, StackedRows
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.components import MOST, Components, fit_scores
from bleep_cli.bundle.learned.slope import RIDGE, SHARE
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.errors import UsageError
from bleep_cli.prediction.expression.project import projected_blocks
from bleep_cli.prediction.layers import Found
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, F64, I64, Neighbours, Section


def seen_by_numpy(expression: F64, panel: F64) -> F64:
    """f64[n, g]: by the singular vectors of the panel, each weighed by how far it stands above noise."""
    n, p = panel.shape
    left, scale, _ = np.linalg.svd(panel - panel.mean(axis=0), full_matrices=False)
    left, scale = left[:, :MOST], scale[:MOST]
    edge = ((panel - panel.mean(axis=0)) ** 2).sum() / (n * p) * (np.sqrt(n) + np.sqrt(p)) ** 2
    mean = expression.mean(axis=0)
    return np.asarray(mean + (left * (scale**2 / (scale**2 + edge))) @ (left.T @ (expression - mean)))


def slope_by_numpy(images: F64, expression: F64) -> F64:
    """f64[d, g]."""
    centred = images - images.mean(axis=0)
    gram = centred.T @ centred + RIDGE * len(images) * np.eye(images.shape[1])
    return np.asarray(SHARE * np.linalg.solve(gram, centred.T @ (expression - expression.mean(axis=0))))


def made(n: int, p: int, g: int, seed: int = 0) -> tuple[F32, F32]:
    """Images f32[n, 4] and counts-like expression f32[n, g], whose first p genes are the panel."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 3)) @ rng.normal(size=(3, g)) / 2
    expression = np.log1p(rng.poisson(np.exp(factors))).astype(np.float32)
    return unit(rng.normal(size=(n, 4)).astype(np.float32) + 0.5), expression


# --- components


@pytest.mark.parametrize("block", [7, 2048])
@pytest.mark.parametrize(("n", "p"), [(40, 9), (30, 50), (260, 150)], ids=["tall", "wide", "more than are kept"])
def test_they_see_what_numpy_does(n: int, p: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bleep_cli.bundle.learned.components.ROW_BLOCK", block)
    monkeypatch.setattr("bleep_cli.bundle.learned.slope.ROW_BLOCK", block)
    images, expression = made(n, p, p + 20)
    wide = expression.astype(np.float64)
    wanted = seen_by_numpy(wide, wide[:, :p])
    for given in (expression, sparse.csr_matrix(expression), StackedRows([expression[:11], expression[11:]])):
        found = fit_scores(PickedColumns(given, np.arange(p))).tell(images, given)
        assert found.shape == expression.shape
        assert found.scores.shape == (n, min(MOST, p, n - 1))
        np.testing.assert_allclose(found.seen(np.arange(n)), wanted, atol=2e-5)
        slope = found.slope.astype(np.float64) @ found.loadings
        np.testing.assert_allclose(slope, slope_by_numpy(images.astype(np.float64), wanted), atol=2e-5)


def test_components_of_noise_are_shrunk_and_those_above_it_stay() -> None:
    """Of pure noise no direction keeps much more than half; one strong direction is kept nearly whole."""
    rng = np.random.default_rng(1)
    noise = rng.normal(size=(300, 200)).astype(np.float32)
    strong = noise + np.outer(rng.normal(size=300), np.full(200, 3)).astype(np.float32)
    for given, low, high in ((noise, 0.35, 0.55), (strong, 0.95, 1.0)):
        seen = fit_scores(given).tell(np.ones((300, 1), np.float32), given)
        first = seen.scores[:, 0] / np.linalg.norm(seen.scores[:, 0])
        kept = np.linalg.norm(first @ (seen.seen(np.arange(300)) - seen.mean))
        assert low < kept / np.linalg.norm(first @ (given - given.mean(axis=0))) < high


def test_the_same_rows_give_the_same_bytes() -> None:
    images, expression = made(60, 20, 30)
    one, two = (fit_scores(expression[:, :20]).tell(images, expression).arrays() for _ in range(2))
    assert {name: values.tobytes() for name, values in one.items()} == {
        name: values.tobytes() for name, values in two.items()
    }


def test_a_panel_that_does_not_vary_tells_means() -> None:
    images, expression = made(12, 3, 8)
    seen = fit_scores(np.ones((12, 3), np.float32)).tell(images, expression)
    assert seen.scores.shape == (12, 0)
    np.testing.assert_allclose(seen.seen(np.array([3])), expression.mean(axis=0)[None], atol=1e-6)


# --- the formula


def by_hand() -> Components:
    scores = np.array([[1, 0], [9, 9], [0, 2]], np.float32)
    loadings = np.array([[2, 0, -4], [0, 1, 0]], np.float32)
    return Components(scores, np.array([[1, 0], [0, 1]], np.float32), loadings, np.array([1, 1, 1], np.float32))


def test_the_projection_by_hand() -> None:
    """Scores (1, 0) and (0, 2) weigh 1/4 and 3/4, the tile adds (0.5, -1): (0.75, 0.5) times the loadings."""
    found = Neighbours(np.array([[0, 2]]), np.zeros((1, 2), np.float32))
    weights, offset = np.array([[0.25, 0.75]], np.float32), np.array([[0.5, -1]], np.float32)
    ((first, block),) = projected_blocks(found, weights, offset, by_hand())
    assert first == 0
    np.testing.assert_allclose(block, [[2.5, 1.5, -2]], rtol=1e-6)
    np.testing.assert_allclose(by_hand().seen(np.array([2])), [[1, 3, 1]])


def test_a_tile_beside_others_and_a_gene_beside_others_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    images, expression = made(90, 30, 64, seed=3)
    seen, rng = fit_scores(expression[:, :30]).tell(images, expression), np.random.default_rng(4)
    index: I64 = rng.integers(0, 90, (23, 5))
    weights, offset = np.full((23, 5), 0.2, np.float32), rng.normal(size=(23, 4)).astype(np.float32)
    ((_, whole),) = projected_blocks(Neighbours(index, weights), weights, offset, seen)
    monkeypatch.setattr("bleep_cli.prediction.expression.project.GENES", 9)
    parts = projected_blocks(Neighbours(index, weights), weights, offset, seen, block_rows=4)
    np.testing.assert_array_equal(np.concatenate([block for _, block in parts]), whole)
    few = Components(seen.scores, seen.slope, seen.loadings[:, [40, 2]], seen.mean[[40, 2]])
    one = Neighbours(index[7:8], weights[7:8])
    ((_, alone),) = projected_blocks(one, weights[7:8], offset[7:8], few)
    np.testing.assert_allclose(alone, whole[7:8, [40, 2]], atol=1e-6)


# --- through a bundle


def test_a_prediction_is_the_formula_on_what_was_measured(projected_bundle: Path, query_slide: Path) -> None:
    bundle = open_bundle(projected_bundle)
    prediction = predicted(bundle, query_slide)
    chosen = PredictOptions(device="cpu", k=K, views=1)
    ready = plan(query_slide, bundle.info, chosen)
    with closing(ready.slide):
        queries = Predictor(bundle, chosen).embed(ready.slide, ready.grid).astype(np.float64)
    spots, images = (bundle.embeddings(key).astype(np.float64) for key in ("expression", "image"))
    measured = bundle.expression_rows()[: bundle.n_spots].astype(np.float64)
    seen = seen_by_numpy(measured, measured[:, bundle.panel])
    slope, wanted = slope_by_numpy(images, seen), []
    for query in queries:
        near = np.argsort(-(spots @ query), kind="stable")[:K]
        wanted.append(np.maximum(seen[near].mean(axis=0) + (query - images[near].mean(axis=0)) @ slope, 0))
    np.testing.assert_allclose(values(prediction), wanted, atol=1e-4)
    assert prediction.provenance["options"]["aggregation"] == "projected"
    assert prediction.obsm["offset"].shape == (len(queries), images.shape[1])


@pytest.mark.parametrize("aggregation", ["average", "corrected"])
def test_such_a_bundle_predicts_as_before_where_it_is_asked_to(
    aggregation: str, projected_bundle: Path, corrected_bundle: Path, query_slide: Path
) -> None:
    before, now = (
        values(predicted(open_bundle(path), query_slide, aggregation=aggregation))
        for path in (corrected_bundle, projected_bundle)
    )
    np.testing.assert_array_equal(now, before)
    assert np.abs(now - values(predicted(open_bundle(projected_bundle), query_slide))).max() > 1e-2


def test_chosen_genes_are_those_columns_of_all_of_them(projected_bundle: Path, query_slide: Path) -> None:
    bundle = open_bundle(projected_bundle)
    some = values(predicted(bundle, query_slide, genes=("GENE7", "GENE2")))
    whole = values(predicted(bundle, query_slide))
    column = {symbol: i for i, symbol in enumerate(bundle.symbols)}
    np.testing.assert_allclose(some, whole[:, [column["GENE7"], column["GENE2"]]], atol=1e-6)


@pytest.mark.parametrize(("which", "instead"), [("small_bundle", "average"), ("corrected_bundle", "corrected")])
def test_a_bundle_without_components_says_what_to_do(
    which: str, instead: str, request: pytest.FixtureRequest
) -> None:
    bundle = open_bundle(request.getfixturevalue(which))
    with pytest.raises(UsageError, match=f"projected: .* holds no components .* {instead}, or build it anew"):
        Predictor(bundle, PredictOptions(device="cpu", aggregation="projected"))


def test_the_estimate_counts_what_components_hold(projected_bundle: Path) -> None:
    bundle = open_bundle(projected_bundle)
    predictor = Predictor(bundle, PredictOptions(device="cpu"))
    (n, c), g, d = bundle.array("components/scores").shape, len(bundle.symbols), 8
    assert predictor.correction_bytes(100) == 4 * (n * d + 100 * d + n * c + d * c + c * g + g)


def test_draws_are_as_far_apart_as_measured_and_mean_what_is_predicted(projected_bundle: Path) -> None:
    """Each neighbour in turn: their mean is the prediction, before what lies below 0 is cut."""
    bundle = open_bundle(projected_bundle)
    seen, measured = bundle.components(np.arange(12)), bundle.expression_rows()[: bundle.n_spots]
    index = np.arange(12).reshape(3, 4)
    weights, offset = np.full((3, 4), 0.25, np.float32), np.zeros((3, 8), np.float32)
    high = replace(seen, mean=seen.mean + 9)  # nothing is cut
    found = Found(Neighbours(index, weights), weights, offset, high, measured)
    turns = [np.concatenate([b for _, b in found.of_draws(index[:, k])]) for k in range(4)]
    middle = np.concatenate([block for _, block in found.blocks()])
    np.testing.assert_allclose(np.mean(turns, axis=0), middle, atol=1e-5)
    apart = measured[index[:, 2]] - measured[index[:, 1]]
    np.testing.assert_allclose(turns[2] - turns[1], apart, atol=1e-5)


# --- where it comes from


def test_growth_fits_components_anew(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path: Path
) -> None:
    base, grown, whole = base_grown_whole(small_sections, make_encoders, tmp_path, "projected")
    every, rows = np.arange(12), np.arange(base.n_spots)
    before, after, wanted = (bundle.components(every).seen(rows) for bundle in (base, grown, whole))
    np.testing.assert_allclose(after, wanted, atol=1e-5)
    assert np.abs(before - wanted).max() > 1e-3
    assert [check for check in verify(grown) if not check.ok] == []
