"""Scores of gene sets: mean z over the tiles, in files and in the page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest

from bleep_cli.errors import UsageError
from bleep_cli.genes.gene_sets import read_gmt
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.set_scores import with_set_scores
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.types import Prediction

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def predicted(small_bundle: Path, query_slide: Path) -> Prediction:
    return Predictor(small_bundle, PredictOptions(k=5, device="cpu")).predict(query_slide, mpp=4.0)


def names(prediction: Prediction, *columns: int) -> tuple[str, ...]:
    return tuple(str(prediction.symbols[column]) for column in columns)


def test_a_score_is_the_mean_of_z_scores(predicted: Prediction) -> None:
    sets = {"A": (*names(predicted, 1, 4, 7), "NOT-MEASURED"), "B": names(predicted, 0, 2, 3)}
    scored = with_set_scores(predicted, sets)
    x = np.concatenate([block for _, block in predicted.blocks()]).astype(np.float64)
    for name, columns in (("set_A", [1, 4, 7]), ("set_B", [0, 2, 3])):
        part = x[:, columns]
        varies = part.std(axis=0) > 0
        z = (part[:, varies] - part[:, varies].mean(axis=0)) / part[:, varies].std(axis=0)
        np.testing.assert_allclose(scored.obs[name], z.mean(axis=1), atol=1e-4)
    assert "set_A" not in predicted.obs


def test_a_set_of_which_too_little_is_predicted_is_refused(predicted: Prediction) -> None:
    with pytest.raises(UsageError, match=r"fewer than 3 genes are predicted of X \(2 of 4\)"):
        with_set_scores(predicted, {"X": (*names(predicted, 1, 2), "Q1", "Q2")})


def test_commands_take_a_file(predicted: Prediction, tmp_path: Path) -> None:
    write_h5ad(predicted, tmp_path / "r.h5ad")
    gmt = tmp_path / "sets.gmt"
    gmt.write_text("\t".join(["ZONE", "of nothing", *names(predicted, 1, 4, 7)]) + "\n", encoding="utf-8")
    bleep = [sys.executable, "-m", "bleep_cli.cli", "--json"]
    done = subprocess.run(
        [*bleep, "convert", "r.h5ad", "--sets", "sets.gmt", "--format", "h5ad,csv", "-o", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    wanted = with_set_scores(predicted, {"ZONE": names(predicted, 1, 4, 7)}).obs["set_ZONE"]
    np.testing.assert_allclose(anndata.read_h5ad(tmp_path / "out/r.h5ad").obs["set_ZONE"], wanted, atol=1e-6)
    files = json.loads(done.stdout)["files"]
    (table,) = [file for file in files if file.endswith(".csv")]
    assert "set_ZONE" in (tmp_path / table).read_text(encoding="utf-8").splitlines()[0]
    page = subprocess.run(
        [*bleep, "report", "r.h5ad", "--sets", "sets.gmt", "-o", "page.html"], cwd=tmp_path, check=False
    )
    assert page.returncode == 0
    assert '"label":"set ZONE"' in (tmp_path / "page.html").read_text(encoding="utf-8").replace(": ", ":")


@pytest.mark.slow
def test_the_example_goes_with_the_demo() -> None:
    sets = read_gmt(ROOT / "docs" / "example-sets.gmt")
    predictor = Predictor(ROOT / "artifacts" / "demo-liver-phantom.zarr.zip", PredictOptions(device="cpu"))
    scored = with_set_scores(predictor.predict(ROOT / "artifacts" / "demo-slide.tif"), sets)
    central, portal, fat, field = (scored.obs[f"set_{name}"] for name in sets)
    assert np.corrcoef(central, field)[0, 1] < -0.3 and np.corrcoef(portal, field)[0, 1] < -0.3
    assert np.corrcoef(central, fat)[0, 1] > 0.6  # the phantom's fat lies around the central veins
