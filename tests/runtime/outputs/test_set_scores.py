"""Scores of gene sets: mean z over the tiles, in files and in the page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from bleep_cli.base.hashing import file_sha256
from bleep_cli.cli import app
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.genes.gene_sets import read_gmt
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.set_scores import METHOD, with_set_scores
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


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def gmt(predicted: Prediction, tmp_path: Path) -> Path:
    """Two sets that share a gene, with genes that the reference does not have."""
    path = tmp_path / "sets.GMT"
    lines = [["ZONE", "", *names(predicted, 1, 4, 7), "QQ1"], ["B", "", *names(predicted, 4, 2, 3), "QQ2"]]
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")
    return path


def test_prediction_and_conversion_score_alike(
    predicted: Prediction, gmt: Path, small_bundle: Path, query_slide: Path, tmp_path: Path
) -> None:
    common = (query_slide, "--ref", small_bundle, "--mpp", 4, "-k", 5, "--format", "h5ad,csv")
    plain, scored, again = (tmp_path / name for name in ("plain", "scored", "again"))
    assert run("predict", *common, "-o", plain).exit_code == 0
    done = run("predict", *common, "-o", scored, "--sets", gmt)
    assert done.exit_code == 0, done.output
    file = f"{query_slide.stem}.h5ad"
    assert run("convert", plain / file, "--sets", gmt, "--format", "h5ad", "-o", again).exit_code == 0
    wanted = with_set_scores(predicted, read_gmt(gmt))
    for folder in (scored, again):
        adata = anndata.read_h5ad(folder / file)
        for name in ("set_ZONE", "set_B"):
            np.testing.assert_allclose(adata.obs[name], wanted.obs[name], atol=1e-6)
        said = adata.uns["bleep"]
        assert said["gene_sets"]["method"] == METHOD
        assert said["gene_sets"]["sets"] == {name: {"genes": 3, "of": 4} for name in ("ZONE", "B")}
        assert said["options"]["sets"] == {"name": "sets.GMT", "sha256": file_sha256(gmt)}
    assert "set_ZONE" in (scored / f"{query_slide.stem}.bleep.csv").read_text(encoding="utf-8").splitlines()[0]
    assert "complete already" in run("predict", *common, "-o", scored, "--sets", gmt, "--resume").output
    hidden = tmp_path / "hidden"
    assert run("predict", *common, "-o", hidden, "--sets", gmt, "--anonymise").exit_code == 0
    (table,) = hidden.glob("*.h5ad")
    alias = anndata.read_h5ad(table).uns["bleep"]["options"]["sets"]["name"]
    assert alias == f"sets-{file_sha256(gmt)[:12]}"
    gmt.write_text(gmt.read_text(encoding="utf-8").replace("ZONE", "NAMED"), encoding="utf-8")
    other = run("predict", *common, "-o", scored, "--sets", gmt, "--resume")
    assert isinstance(other.exception, OutputError)
    assert "other options (sets)" in str(other.exception)


def test_sets_are_checked_before_a_slide_is_read(
    gmt: Path, small_bundle: Path, query_slide: Path, tmp_path: Path
) -> None:
    gmt.write_text("X\t\tQ1\tQ2\n", encoding="utf-8")
    done = run("predict", query_slide, "--ref", small_bundle, "-o", tmp_path / "out", "--sets", gmt)
    assert isinstance(done.exception, UsageError)
    assert "sets: fewer than 3 genes are predicted of X (0 of 2)" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_genes_of_sets_are_those_that_there_are(
    predicted: Prediction, gmt: Path, small_bundle: Path, query_slide: Path, tmp_path: Path
) -> None:
    wanted = list(names(predicted, 1, 4, 7, 2, 3))
    common = ("--format", "h5ad", "--genes", gmt)
    done = run("predict", query_slide, "--ref", small_bundle, "-o", tmp_path / "few", "--sets", gmt, *common)
    assert done.exit_code == 0, done.output
    assert "5 of the 7 genes of the sets are in" in done.stderr
    adata = anndata.read_h5ad(tmp_path / "few" / f"{query_slide.stem}.h5ad")
    assert adata.var_names.tolist() == wanted
    assert adata.uns["bleep"]["options"]["genes"].tolist() == wanted
    assert {"set_ZONE", "set_B"} <= set(adata.obs)
    write_h5ad(predicted, tmp_path / "all.h5ad")
    assert run("convert", tmp_path / "all.h5ad", "-o", tmp_path / "again", *common).exit_code == 0
    assert anndata.read_h5ad(tmp_path / "again" / "all.h5ad").var_names.tolist() == wanted
    gmt.write_text("X\t\tQ1\tQ2\n", encoding="utf-8")
    none = run("convert", tmp_path / "all.h5ad", "-o", tmp_path / "none", *common)
    assert isinstance(none.exception, UsageError)
    assert "genes: of the 2 genes of the sets the result has none" in str(none.exception)


@pytest.mark.slow
def test_the_example_goes_with_the_demo() -> None:
    sets = read_gmt(ROOT / "docs" / "example-sets.gmt")
    predictor = Predictor(ROOT / "artifacts" / "demo-liver-phantom.zarr.zip", PredictOptions(device="cpu"))
    scored = with_set_scores(predictor.predict(ROOT / "artifacts" / "demo-slide.tif"), sets)
    central, portal, fat, field = (scored.obs[f"set_{name}"] for name in sets)
    assert np.corrcoef(central, field)[0, 1] < -0.3 and np.corrcoef(portal, field)[0, 1] < -0.3
    assert np.corrcoef(central, fat)[0, 1] > 0.6  # the phantom's fat lies around the central veins
