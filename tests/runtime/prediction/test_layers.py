"""Layers beside the prediction: bounds and draws, from the reference to the file and back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from bleep_cli.batch.kinds import left_out
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import UsageError
from bleep_cli.outputs.blocks import of_genes
from bleep_cli.outputs.exports.spatial_data import write_spatialdata
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.read import open_result
from bleep_cli.outputs.zarr_store import write_zarr
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.types import F32, Prediction

ASKED = PredictOptions(device="cpu", interval=0.8, samples=11)


@pytest.fixture(scope="module", params=["average", "corrected", "projected"])
def reference(
    small_built: Built, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    path = tmp_path_factory.mktemp("layers") / "ref.zarr.zip"
    built = with_reliability(replace(small_built, info=replace(small_built.info, k=8, aggregation=request.param)))
    write_bundle(path, built.info, built.arrays)
    return path


@pytest.fixture(scope="module")
def predicted(reference: Path, query_slide: Path) -> Prediction:
    return Predictor(reference, ASKED).predict(query_slide, mpp=4.0)


def whole(prediction: Prediction, layer: str | None = None) -> F32:
    blocks = prediction.blocks if layer is None else prediction.layers[layer]
    return np.concatenate([block for _, block in blocks()])


def test_bounds_are_those_of_the_stored_scores(predicted: Prediction, reference: Path) -> None:
    calibration = open_bundle(reference).calibration()
    assert calibration is not None
    expression = np.asarray(open_bundle(reference).expression_rows()[:], np.float32)
    spread = expression[predicted.neighbours.index].std(axis=1)
    for name, scores in zip(("lower", "upper"), calibration.bounds(0.8), strict=True):
        wanted = np.maximum(whole(predicted) + scores * (spread + calibration.floor), 0)
        np.testing.assert_allclose(whole(predicted, name), wanted, atol=5e-3)
    assert (whole(predicted, "lower") <= whole(predicted, "upper")).all()


def test_a_draw_is_of_the_tile_s_neighbours(predicted: Prediction, reference: Path) -> None:
    bundle = open_bundle(reference)
    near = np.asarray(bundle.expression_rows()[:], np.float32)[predicted.neighbours.index]  # [n, k, g]
    how = bundle.info.aggregation
    if how == "projected":  # what was measured there, and what the prediction adds to the mean of that
        seen = bundle.components(np.arange(near.shape[2]))
        told = seen.seen(predicted.neighbours.index.ravel()).reshape(near.shape).mean(axis=1)
        told += predicted.obsm["offset"] @ seen.slope @ seen.loadings
        near = np.maximum(near - near.mean(axis=1, keepdims=True) + told[:, None], 0)
    if how == "corrected":
        moved = predicted.obsm["offset"] @ bundle.slope(np.arange(near.shape[2]))
        near = np.maximum(near + moved[:, None], 0)
    drawn = whole(predicted, "sample_2")
    assert np.abs(near - drawn[:, None]).max(axis=2).min(axis=1).max() < 1e-5
    assert np.abs(whole(predicted, "sample_2") - whole(predicted, "sample_3")).max() > 0


def test_files_keep_them_and_give_them_back(predicted: Prediction, tmp_path: Path) -> None:
    write_h5ad(predicted, tmp_path / "r.h5ad")
    write_zarr(predicted, tmp_path / "r.zarr")
    for path, read in ((tmp_path / "r.h5ad", anndata.read_h5ad), (tmp_path / "r.zarr", anndata.read_zarr)):
        theirs = read(path)
        assert set(theirs.layers) == {"lower", "upper", *(f"sample_{i}" for i in range(1, 12))}
        np.testing.assert_array_equal(theirs.layers["upper"], whole(predicted, "upper"))
        again = open_result(path)
        assert list(again.layers) == list(predicted.layers)
        np.testing.assert_array_equal(whole(again, "sample_11"), whole(predicted, "sample_11"))
        one = of_genes(again, [str(again.symbols[3])])
        np.testing.assert_array_equal(whole(one, "lower")[:, 0], whole(predicted, "lower")[:, 3])


def test_chosen_genes_have_the_same_bounds(predicted: Prediction, reference: Path, query_slide: Path) -> None:
    names = tuple(map(str, predicted.symbols[[5, 2]]))
    some = Predictor(reference, replace(ASKED, genes=names)).predict(query_slide, mpp=4.0)
    np.testing.assert_allclose(whole(some, "upper"), whole(predicted, "upper")[:, [5, 2]], atol=1e-5)
    np.testing.assert_allclose(whole(some, "sample_1"), whole(predicted, "sample_1")[:, [5, 2]], atol=1e-5)


def test_bounds_of_tiles_that_nothing_calls_strange_say_so(predicted: Prediction) -> None:
    (told,) = [finding for finding in predicted.findings if finding.code == "interval-strange"]
    assert "nothing tells" in told.what  # this reference's tower tells no looks


def test_what_cannot_be_is_refused(small_bundle: Path, reference: Path) -> None:
    for asked in (PredictOptions(interval=0.9), PredictOptions(samples=2)):
        with pytest.raises(UsageError, match="build it anew with bleep build-reference"):
            Predictor(small_bundle, asked)
    with pytest.raises(UsageError, match=r"the reference's own .*\(8, expression, "):
        Predictor(reference, replace(ASKED, k=3))
    for number in (0.0, 0.3, 1.0, float("nan")):
        with pytest.raises(UsageError, match=r"from 0\.5 to 0\.99"):
            PredictOptions(interval=number)
    with pytest.raises(UsageError, match="0 to 100"):
        PredictOptions(samples=101)


def test_the_command_writes_them(reference: Path, query_slide: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bleep_cli.cli", "predict", str(query_slide), "--ref", str(reference)]
    command += ["--mpp", "4", "--interval", "0.9", "--samples", "1", "--format", "h5ad", "-o", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("*.h5ad")
    assert set(anndata.read_h5ad(result).layers) == {"lower", "upper", "sample_1"}
    assert "no bounds and samples" not in done.stderr


def test_formats_that_cannot_hold_them_say_so(predicted: Prediction) -> None:
    (told,) = left_out(["h5ad", "csv", "png"], predicted, "s.svs")
    assert (told.code, told.what) == ("layers-left-out", "csv, png hold no bounds and samples")
    assert not left_out(["h5ad", "zarr", "spatialdata"], predicted, "s.svs")
    assert not left_out(["csv", "png"], replace(predicted, layers={}), "s.svs")


def test_a_spatialdata_holds_them(predicted: Prediction, tmp_path: Path) -> None:
    write_spatialdata(predicted, tmp_path / "r.zarr")
    table = anndata.read_zarr(tmp_path / "r.zarr" / "tables" / "table")
    np.testing.assert_array_equal(table.layers["upper"], whole(predicted, "upper"))
