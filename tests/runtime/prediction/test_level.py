"""Values at the level of one's own section: by hand, refused where it is not known, in receipts and files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from predicted_slides import values

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import UsageError
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.level.shift import LEVEL_SHIFT, MOST_SPOTS, SHRINK, evenly, parts_of
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.receipts.receipt import receipts, recomputed
from bleep_cli.reference.parts import Built
from bleep_cli.types import F32, Prediction

K, OWN = 9, "S1"


@pytest.fixture(scope="module", params=["average", "corrected", "projected"])
def bundle(request: pytest.FixtureRequest, small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reference whose section S1 was measured 0.7 higher in its first gene, and at 0.2 of its second."""
    own = small_built.arrays.section == OWN
    expression = small_built.arrays.expression.toarray()
    expression[own, 0] += 0.7
    expression[own, 1] *= 0.2
    path = tmp_path_factory.mktemp("level") / "own.zarr"
    arrays = replace(small_built.arrays, expression=expression)
    write_bundle(path, replace(small_built.info, aggregation=request.param, k=K), arrays)
    return path


def predicted(bundle: Path, slide: Path, **options: object) -> Prediction:
    return Predictor(bundle, PredictOptions(device="cpu", **options)).predict(slide)  # type: ignore[arg-type]


def shift_of(prediction: Prediction) -> F32:
    return np.asarray(prediction.var[LEVEL_SHIFT], np.float32)


def by_hand(path: Path) -> F32:
    """f32[g]: every spot of S1 from those that are not of its fifth, the mean of what that misses."""
    bundle = open_bundle(path)
    keys, images = bundle.embeddings("expression"), bundle.embeddings("image")
    expression = np.asarray(bundle.expression_rows()[: bundle.n_spots])
    own = np.flatnonzero(bundle.spots("section") == OWN)
    xy = bundle.xy_l0()[own]
    rank = np.argsort(np.argsort(xy[:, np.ptp(xy, axis=0).argmax()], kind="stable"))
    missed = []
    for row, strip in zip(own, rank * 5 // len(own), strict=True):
        others = np.setdiff1d(np.arange(bundle.n_spots), own[rank * 5 // len(own) == strip])
        near = others[np.argsort(-(keys[others] @ images[row]), kind="stable")[:K]]
        said = expression[near].mean(axis=0)
        if bundle.info.aggregation == "corrected":
            slope = bundle.slope(np.arange(len(bundle.symbols)))
            said = np.maximum(said + (images[row] - images[near].mean(axis=0)) @ slope, 0)
        if bundle.info.aggregation == "projected":
            seen = bundle.components(np.arange(len(bundle.symbols)))
            slope = seen.slope @ seen.loadings
            said = seen.seen(near).mean(axis=0) + (images[row] - images[near].mean(axis=0)) @ slope
            said = np.maximum(said, 0)
        missed.append(expression[row] - said)
    return np.asarray(np.sum(missed, axis=0) / (len(own) + SHRINK), np.float32)


def test_values_are_moved_by_what_own_spots_miss(bundle: Path, query_slide: Path) -> None:
    plain, moved = (predicted(bundle, query_slide, level_of=of) for of in ((), (OWN,)))
    assert LEVEL_SHIFT not in plain.var
    shift = shift_of(moved)
    np.testing.assert_allclose(shift, by_hand(bundle), atol=1e-4)
    assert shift[0] > 0.1 > -0.05 > shift[1]
    np.testing.assert_allclose(values(moved), np.maximum(values(plain) + shift, 0), atol=1e-6)
    (told,) = (finding for finding in moved.findings if finding.code == "level-taken")
    assert f"section {OWN}" in told.what
    assert moved.provenance["options"]["level_of"] == [OWN]


def test_receipts_and_files_add_up(bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    write_h5ad(predicted(bundle, query_slide, level_of=(OWN,)), tmp_path / "own.h5ad")
    found, ref = open_result(tmp_path / "own.h5ad"), open_bundle(bundle)
    again = np.concatenate([block for _, block in recomputed(found, ref)])
    np.testing.assert_allclose(again, values(found), atol=1e-5)
    genes = [str(found.symbols[gene]) for gene in (1, 0)]
    for receipt, gene in zip(receipts(found, ref, str(found.grid.tile_id[3]), genes), (1, 0), strict=True):
        assert receipt.recomputed == pytest.approx(receipt.predicted, abs=1e-5)
        assert receipt.level == pytest.approx(float(found.var[LEVEL_SHIFT][gene]))
        summed = max(receipt.mean + receipt.projection + receipt.correction + receipt.level, 0)
        assert receipt.recomputed == pytest.approx(summed, abs=1e-5)
        assert "to the level that was asked for" in receipt.lines()[1]


def test_some_genes_have_the_shift_that_they_have_among_all(bundle: Path, query_slide: Path) -> None:
    everything = predicted(bundle, query_slide, level_of=(OWN,))
    some = predicted(bundle, query_slide, level_of=(OWN,), genes=("GENE5", "GENE0"))
    np.testing.assert_allclose(shift_of(some), shift_of(everything)[[5, 0]], atol=1e-5)


def test_an_unknown_section_and_one_that_is_left_out_are_refused(bundle: Path) -> None:
    with pytest.raises(UsageError, match="level_of: S9 not in own"):
        Predictor(bundle, PredictOptions(device="cpu", level_of=("S9",)))
    with pytest.raises(UsageError, match="level_of S1: left out of this prediction"):
        Predictor(bundle, PredictOptions(device="cpu", level_of=(OWN,), exclude_section=(OWN,)))


def test_parts_are_sections_or_strips_and_many_spots_are_thinned() -> None:
    xy = np.stack([np.arange(10.0)[::-1], np.zeros(10)], axis=1)
    assert parts_of(np.array(["a"] * 10), xy).tolist() == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert parts_of(np.array(["b", "a", "b"]), xy[:3]).tolist() == [1, 0, 1]
    assert evenly(np.arange(5), 9).tolist() == [0, 1, 2, 3, 4]
    many = evenly(np.arange(10_000), MOST_SPOTS)
    assert (len(many), many[0], many[-1]) == (MOST_SPOTS, 0, 9_999)
