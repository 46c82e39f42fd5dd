"""A value is what its receipt adds up to, on every tile and for every gene."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.receipts.receipt import Receipt, receipts, recomputed
from bleep_cli.types import F32, Prediction

K = 7


def predicted(bundle: Path, slide: Path, **options: object) -> Prediction:
    return Predictor(bundle, PredictOptions(device="cpu", **options)).predict(slide)  # type: ignore[arg-type]


def values(prediction: Prediction) -> F32:
    return np.concatenate([block for _, block in prediction.blocks()])


@pytest.fixture(scope="module")
def found(small_bundle: Path, query_slide: Path) -> Prediction:
    return predicted(small_bundle, query_slide, k=K, views=1)


def of(prediction: Prediction, bundle: Path, row: int, gene: int, *without: str) -> Receipt:
    tile, symbol = str(prediction.grid.tile_id[row]), str(prediction.symbols[gene])
    return receipts(prediction, open_bundle(bundle), tile, [symbol], without)[0]


def test_every_value_of_the_demo_adds_up() -> None:
    bundle = open_bundle(asset(DEMO_BUNDLE))
    demo = predicted(asset(DEMO_BUNDLE), asset(DEMO_SLIDE), views=1)
    again = np.concatenate([block for _, block in recomputed(demo, bundle)])
    assert again.shape == (len(demo.grid), len(demo.symbols))
    np.testing.assert_allclose(again, values(demo), atol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"aggregation": "weighted", "temperature": 0.05}, {"aggregation": "simple"}]
)
def test_a_receipt_is_the_sum_by_hand(small_bundle: Path, query_slide: Path, options: dict[str, object]) -> None:
    prediction = predicted(small_bundle, query_slide, k=K, views=1, **options)
    bundle = open_bundle(small_bundle)
    expression = bundle.expression_rows()[: bundle.n_spots]
    for row, gene in ((0, 3), (5, 0), (len(prediction.grid) - 1, 11)):
        receipt = of(prediction, small_bundle, row, gene)
        assert [spot.row for spot in receipt.spots] == prediction.neighbours.index[row].tolist()
        assert sum(spot.weight for spot in receipt.spots) == pytest.approx(1, abs=1e-6)
        by_hand = sum(spot.weight * float(expression[spot.row, gene]) for spot in receipt.spots)
        assert receipt.predicted == receipt.recomputed == pytest.approx(by_hand, abs=1e-6)
        assert receipt.correction == 0
        first = receipt.spots[0]
        assert (first.section, first.donor) == (
            bundle.spots("section")[first.row],
            bundle.spots("donor")[first.row],
        )
        assert (first.x_l0, first.y_l0) == tuple(bundle.xy_l0()[first.row])


def test_genes_in_any_order_and_by_id(found: Prediction, small_bundle: Path) -> None:
    genes = [str(found.symbols[5]), str(found.gene_ids[2])]
    several = receipts(found, open_bundle(small_bundle), str(found.grid.tile_id[1]), genes)
    assert [receipt.gene for receipt in several] == [found.symbols[5], found.symbols[2]]
    assert [receipt.predicted for receipt in several] == [float(values(found)[1, g]) for g in (5, 2)]


def test_a_corrected_value_adds_up(corrected_bundle: Path, query_slide: Path) -> None:
    prediction = predicted(corrected_bundle, query_slide, k=K, views=1)
    bundle = open_bundle(corrected_bundle)
    again = np.concatenate([block for _, block in recomputed(prediction, bundle)])
    np.testing.assert_allclose(again, values(prediction), atol=1e-6)
    moved = [of(prediction, corrected_bundle, 2, gene) for gene in range(len(prediction.symbols))]
    assert max(abs(receipt.correction) for receipt in moved) > 1e-3
    slope = bundle.slope(np.arange(len(prediction.symbols)))
    wanted = np.maximum([r.mean for r in moved] + prediction.obsm["offset"][2] @ slope, 0)
    np.testing.assert_allclose([r.recomputed for r in moved], wanted, atol=1e-6)


def test_every_projected_value_adds_up(projected_bundle: Path, query_slide: Path) -> None:
    """On every tile and for every gene: what each spot says, the place of the tile, and nothing below 0."""
    prediction = predicted(projected_bundle, query_slide, k=K, views=1)
    bundle = open_bundle(projected_bundle)
    again = np.concatenate([block for _, block in recomputed(prediction, bundle)])
    np.testing.assert_allclose(again, values(prediction), atol=1e-6)
    genes = [str(symbol) for symbol in prediction.symbols]
    for row, tile in enumerate(map(str, prediction.grid.tile_id)):
        of_tile = receipts(prediction, bundle, tile, genes)
        np.testing.assert_allclose([r.recomputed for r in of_tile], values(prediction)[row], atol=1e-6)
        for receipt in of_tile:
            measured, said = (
                sum(s.weight * of for s, of in zip(receipt.spots, each, strict=True))
                for each in ([s.measured for s in receipt.spots], [s.seen for s in receipt.spots])
            )
            assert receipt.mean == pytest.approx(measured, abs=1e-6)
            assert receipt.mean + receipt.projection == pytest.approx(said, abs=1e-6)
            summed = receipt.mean + receipt.projection + receipt.correction
            assert receipt.recomputed == pytest.approx(summed, abs=1e-6)
    told = "\n".join(receipt.lines())
    assert "for what the components of the reference see of them" in told and "  seen " in told


@pytest.mark.parametrize("which", ["small_bundle", "corrected_bundle"])
def test_without_a_donor_is_the_mean_of_the_others(
    which: str, query_slide: Path, request: pytest.FixtureRequest
) -> None:
    path: Path = request.getfixturevalue(which)
    bundle = open_bundle(path)
    prediction = predicted(path, query_slide, k=40, views=1)
    donor = of(prediction, path, 0, 0).spots[0].donor
    receipt = of(prediction, path, 0, 0, donor)
    kept = [spot for spot in receipt.spots if spot.donor != donor]
    assert kept and all(spot.weight == 0 for spot in receipt.spots if spot.donor == donor)
    assert [spot.weight for spot in kept] == pytest.approx([1 / len(kept)] * len(kept), rel=1e-5)
    assert receipt.mean == pytest.approx(np.mean([spot.measured for spot in kept]), abs=1e-6)
    if which == "corrected_bundle":
        images = bundle.embeddings("image")
        rows = [spot.row for spot in receipt.spots]
        tile = prediction.obsm["offset"][0] + images[rows].mean(axis=0)
        moved = (tile - images[[spot.row for spot in kept]].mean(axis=0)) @ bundle.slope(np.array([0]))
        assert receipt.recomputed == pytest.approx(max(receipt.mean + float(moved[0]), 0), abs=1e-5)


def test_what_is_not_there_is_said(found: Prediction, small_bundle: Path, corrected_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)
    tile, gene = str(found.grid.tile_id[0]), str(found.symbols[0])
    with pytest.raises(UsageError, match="tile nowhere: there is no such tile; there are "):
        receipts(found, bundle, "nowhere", [gene])
    with pytest.raises(UsageError, match="gene NOGENE: not among the 12 predicted genes"):
        receipts(found, bundle, tile, ["NOGENE"])
    with pytest.raises(UsageError, match=r"without_donor X: no spot behind tile .* they are of "):
        receipts(found, bundle, tile, [gene], ["X"])
    donors = sorted({spot.donor for spot in of(found, small_bundle, 0, 0).spots})
    with pytest.raises(UsageError, match="every spot behind tile"):
        receipts(found, bundle, tile, [gene], donors)
    with pytest.raises(ReferenceError, match="is not what this result was predicted from"):
        receipts(found, open_bundle(corrected_bundle), tile, [gene])
    corrected = replace(found, provenance=found.provenance | {"options": {"aggregation": "corrected"}})
    with pytest.raises(UsageError, match="does not say by what it was corrected"):
        receipts(corrected, bundle, tile, [gene])
