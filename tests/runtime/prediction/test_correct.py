"""Corrected predictions: the formula by hand, the slope by another way, the same numbers through every door."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anndata
import numpy as np
import pytest
from predicted_slides import K, base_grown_whole, predicted, values
from scipy import sparse

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.slope import expression_slope
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.cli import app
from bleep_cli.errors import UsageError
from bleep_cli.prediction.estimate import estimate
from bleep_cli.prediction.expression.correct import corrected, offsets
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.towers.encoder import unit
from bleep_cli.types import Neighbours, Section

# --- the formula


def test_the_correction_by_hand() -> None:
    """u = (1, 0), its neighbours' tiles at (0, 1) and (0.6, 0.8) weigh 1/4 and 3/4: it lies (0.55, -0.85) away."""
    images = np.array([[0, 1], [9, 9], [0.6, 0.8]], np.float32)
    found = Neighbours(np.array([[0, 2]]), np.zeros((1, 2), np.float32))
    offset = offsets(np.array([[1, 0]], np.float32), found, np.array([[0.25, 0.75]], np.float32), images)
    np.testing.assert_allclose(offset, [[0.55, -0.85]], rtol=1e-6)
    slope = np.array([[2, 0, -4], [0, 1, 0]], np.float32)
    blocks = iter([(0, np.array([[1, 1, 1]], np.float32))])
    ((first, block),) = corrected(blocks, offset, slope)
    assert first == 0
    np.testing.assert_allclose(block, [[2.1, 0.15, 0]], rtol=1e-5)  # 1 - 2.2 is less than no expression


def test_every_block_takes_its_own_tiles() -> None:
    offset, slope = np.arange(6, dtype=np.float32)[:, None], np.ones((1, 2), np.float32)
    zeros = np.zeros((3, 2), np.float32)
    parts = dict(corrected([(0, zeros), (3, zeros)], offset, slope))
    assert parts[3].tolist() == [[3, 3], [4, 4], [5, 5]]


@pytest.mark.parametrize("block", [5, 2048])
def test_the_slope_is_ridge_regression(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another way: ordinary least squares with the penalty as further rows, an intercept left alone."""
    monkeypatch.setattr("bleep_cli.bundle.learned.slope.ROW_BLOCK", block)
    rng = np.random.default_rng(0)
    images = unit(rng.normal(size=(23, 4)).astype(np.float32) + 0.5)
    expression = rng.poisson(1.0, (23, 6)).astype(np.float32)
    ridge = 0.3
    rows = np.vstack(
        [np.column_stack([np.ones(23), images]), np.column_stack([np.zeros(4), np.eye(4) * np.sqrt(23 * ridge)])]
    )
    wanted = np.linalg.lstsq(rows, np.vstack([expression, np.zeros((4, 6))]), rcond=None)[0][1:]
    for given in (expression, sparse.csr_matrix(expression)):
        found = expression_slope(images, given, ridge, 0.6)
        assert (found.shape, found.dtype) == ((4, 6), np.float32)
        np.testing.assert_allclose(found, 0.6 * wanted, atol=1e-5)


# --- through a bundle


def test_a_prediction_is_the_formula_on_what_the_bundle_holds(corrected_bundle: Path, query_slide: Path) -> None:
    bundle = open_bundle(corrected_bundle)
    prediction = predicted(bundle, query_slide)
    chosen = PredictOptions(device="cpu", k=K, views=1)
    ready = plan(query_slide, bundle.info, chosen)
    with closing(ready.slide):
        queries = Predictor(bundle, chosen).embed(ready.slide, ready.grid).astype(np.float64)
    spots, images = (bundle.embeddings(key).astype(np.float64) for key in ("expression", "image"))
    measured = bundle.expression_rows()[: bundle.n_spots].astype(np.float64)
    slope = bundle.slope(np.arange(len(bundle.symbols)))
    wanted = []
    for query in queries:
        near = np.argsort(-(spots @ query), kind="stable")[:K]
        wanted.append(np.maximum(measured[near].mean(axis=0) + (query - images[near].mean(axis=0)) @ slope, 0))
    np.testing.assert_allclose(values(prediction), wanted, atol=1e-4)
    assert prediction.provenance["options"]["aggregation"] == "corrected"
    mean = predicted(bundle, query_slide, aggregation="average")
    assert np.abs(values(mean) - wanted).max() > 0.01


def test_asked_for_the_average_such_a_bundle_gives_what_it_gave_before(
    corrected_bundle: Path, small_bundle: Path, query_slide: Path
) -> None:
    before = predicted(open_bundle(small_bundle), query_slide)
    now = predicted(open_bundle(corrected_bundle), query_slide, aggregation="average")
    np.testing.assert_array_equal(values(now), values(before))
    assert (before.provenance["options"]["aggregation"], now.provenance["options"]["aggregation"]) == (
        "average",
    ) * 2


def test_some_genes_are_those_columns_of_all(corrected_bundle: Path, query_slide: Path) -> None:
    bundle = open_bundle(corrected_bundle)
    some = values(predicted(bundle, query_slide, genes=("GENE7", "GENE2")))
    whole = values(predicted(bundle, query_slide))
    column = {symbol: i for i, symbol in enumerate(bundle.symbols)}
    np.testing.assert_allclose(some, whole[:, [column["GENE7"], column["GENE2"]]], atol=1e-5)


def test_neighbours_found_by_image_are_corrected_as_well(corrected_bundle: Path, query_slide: Path) -> None:
    """A tile of the reference itself, compared by image with one neighbour, is that spot: nothing to correct."""
    bundle = open_bundle(corrected_bundle)
    images = bundle.embeddings("image")[:5]
    found = Neighbours(np.arange(5)[:, None], np.ones((5, 1), np.float32))
    assert np.abs(offsets(images, found, np.ones((5, 1), np.float32), bundle.embeddings("image"))).max() == 0
    by_image = values(predicted(bundle, query_slide, key="image"))
    assert (
        np.abs(by_image - values(predicted(bundle, query_slide, key="image", aggregation="average"))).max() > 1e-3
    )


def test_without_a_slope_it_is_refused_before_a_slide_is_read(small_bundle: Path) -> None:
    options = PredictOptions(device="cpu", aggregation="corrected")
    with pytest.raises(UsageError, match=r"corrected: small\.zarr holds no slope .* average, or build it anew"):
        Predictor(open_bundle(small_bundle), options)


def test_the_estimate_counts_what_the_correction_holds(
    corrected_bundle: Path, query_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """n × d of the reference, d × g of the slope and tiles × d, four bytes each."""
    bundle = open_bundle(corrected_bundle)
    plainly = Predictor(bundle, PredictOptions(device="cpu", aggregation="average"))
    predictor = Predictor(bundle, PredictOptions(device="cpu"))
    assert plainly.correction_bytes(100) == 0
    assert predictor.correction_bytes(100) == 4 * 8 * (bundle.n_spots + len(bundle.symbols) + 100)
    monkeypatch.setattr(Predictor, "correction_bytes", lambda self, tiles: 0 if self is plainly else 300 << 20)
    ready = plan(query_slide, bundle.info, PredictOptions())
    with closing(ready.slide):
        less, more = (estimate(one, ready).memory_mb for one in (plainly, predictor))
    assert more - less == 300


def test_tables_hold_the_corrected_values(corrected_bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    command = (
        "predict",
        query_slide,
        "--ref",
        corrected_bundle,
        "-o",
        tmp_path,
        "--device",
        "cpu",
        "-k",
        K,
        "--views",
        1,
    )
    assert not app([*map(str, command), "--format", "h5ad,zarr"], standalone_mode=False)
    wanted = values(predicted(open_bundle(corrected_bundle), query_slide))
    for read, name in ((anndata.read_h5ad, "query.h5ad"), (anndata.read_zarr, "query.zarr")):
        table = read(tmp_path / name)
        np.testing.assert_array_equal(np.asarray(table.X), wanted)
        assert table.uns["bleep"]["options"]["aggregation"] == "corrected"


# --- where it comes from


def test_growth_computes_the_slope_anew(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path: Path
) -> None:
    base, grown, whole = base_grown_whole(small_sections, make_encoders, tmp_path, "corrected")
    before, after, wanted = (bundle.slope(np.arange(12)) for bundle in (base, grown, whole))
    np.testing.assert_allclose(after, wanted, atol=1e-5)
    assert np.abs(before - wanted).max() > 1e-3
    assert [check for check in verify(grown) if not check.ok] == []
