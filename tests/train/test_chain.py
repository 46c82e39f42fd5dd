"""The whole chain through both command lines: train → export → evaluate → predict, on a made-up cohort."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from typer.testing import CliRunner

from bleep_cli import cli
from bleep_cli.bundle import open_bundle
from bleep_cli.errors import BleepError, OutputError, UsageError
from bleep_cli.predict import PredictOptions, Predictor
from bleep_cli.sections import read_cohort
from bleep_train.__main__ import app
from bleep_train.evaluate import measured_log1p, predict_section
from bleep_train.metrics import pearson

pytestmark = pytest.mark.filterwarnings("ignore")  # torch.onnx's exporter warns of its own code
HELD_OUT = "S2"
GENES = 30
CONFIG = """
[data]
panel_genes = 20
tile_um = [64.0, 128.0]
tile_px = 32
[model]
dim = 16
[optim]
epochs = 15
batch_size = 64
lr = 5e-3
[reference]
k = 10
"""


def bleep_train(*arguments: str | Path) -> str:
    return invoke(app, *arguments)


def invoke(command: object, *arguments: str | Path) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def cohort_file(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("chain"), ("st", "st", "st"), n_genes=GENES)


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run(cohort_file: Path, config_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    said = bleep_train("train", cohort_file, "--config", config_file, "--hold-out", HELD_OUT, "-o", out)
    assert "sections S0, S1" in said
    return out


@pytest.fixture(scope="module")
def evaluated(run: Path, cohort_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated")
    bleep_train("evaluate", run, cohort_file, "--on", HELD_OUT, "-o", out, "--markers", "GENE0,GENE1")
    return out


def test_evaluate_writes_what_is_documented(evaluated: Path) -> None:
    metrics = json.loads((evaluated / "metrics.json").read_text())
    methods = metrics["sections"][HELD_OUT]
    assert set(methods) == {"bleep", "ridge", "mean", "shuffled"}
    keys = {"hvg50", "heg50", "all", "variance_ratio", "n_spots", "n_nan", "markers"}
    assert all(set(m) == keys for m in methods.values())
    assert methods["bleep"]["hvg50"] > 0.5  # colour sets expression, so there is much to find
    assert abs(methods["shuffled"]["hvg50"]) < 0.2
    assert methods["mean"]["hvg50"] == 0
    assert metrics["donors"] == {"train": ["DS0", "DS1"], "test": ["DS2"], "shared": []}
    sets = json.loads((evaluated / "gene_sets.json").read_text())
    assert set(sets) == {"hvg50", "heg50", "all", "markers"}
    with (evaluated / "genes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["gene"] for row in rows] == sets["all"]
    mean_r = np.mean([float(row["r_bleep"]) for row in rows])
    assert mean_r == pytest.approx(methods["bleep"]["all"], abs=1e-6)


def test_evaluating_the_bundle_is_evaluating_the_run(
    run: Path, evaluated: Path, cohort_file: Path, tmp_path: Path
) -> None:
    bleep_train("evaluate", run / "bundle.zarr", cohort_file, "--on", HELD_OUT, "-o", tmp_path, "--no-ridge")
    again = json.loads((tmp_path / "metrics.json").read_text())["sections"][HELD_OUT]["bleep"]
    first = json.loads((evaluated / "metrics.json").read_text())["sections"][HELD_OUT]["bleep"]
    assert again == {key: value for key, value in first.items() if key != "markers"}


def test_predict_at_gives_what_was_evaluated(
    run: Path, evaluated: Path, cohort_file: Path, tmp_path: Path
) -> None:
    folder = cohort_file.parent
    arguments = ["predict", folder / "S2.png", "--mpp", "4", "--at", folder / "S2-spots.tsv"]
    invoke(cli.app, *arguments, "--ref", run / "bundle.zarr", "-o", tmp_path, "--format", "h5ad")
    adata = anndata.read_h5ad(tmp_path / "S2.h5ad")
    section = read_cohort(cohort_file, only=[HELD_OUT])[0]
    bundle = open_bundle(run / "bundle.zarr")
    assert list(adata.obs_names) == section.barcodes.tolist()
    expected = predict_section(section, Predictor(bundle, PredictOptions()))
    np.testing.assert_array_equal(adata.X, expected)
    sets = json.loads((evaluated / "gene_sets.json").read_text())
    rows = bundle.gene_rows(sets["hvg50"])
    r = pearson(np.asarray(adata.X)[:, rows], measured_log1p(section, bundle)[:, rows])
    scored = json.loads((evaluated / "metrics.json").read_text())["sections"][HELD_OUT]["bleep"]["hvg50"]
    assert np.mean(r) == pytest.approx(scored, abs=1e-9)


def test_build_reference_repeats_the_exported_bundle(
    run: Path, evaluated: Path, cohort_file: Path, tmp_path: Path
) -> None:
    """Without torch: the towers from the encoders folder, the same sections, the same content."""
    out = tmp_path / "again.zarr"
    arguments = ["build-reference", cohort_file, "--encoders", run / "encoders", "--only", "S0,S1", "-o", out]
    said = invoke(cli.app, *arguments)
    assert "from 2 sections" in said
    assert open_bundle(out).content_sha256 == open_bundle(run / "bundle.zarr").content_sha256
    grown = tmp_path / "grown.zarr"
    invoke(cli.app, "build-reference", cohort_file, "--base", out, "--only", HELD_OUT, "-o", grown)
    assert open_bundle(grown).info.parent_sha256 == open_bundle(out).content_sha256
    assert open_bundle(grown).n_spots > open_bundle(out).n_spots


def test_a_section_of_the_reference_is_not_evaluated(run: Path, cohort_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="S0: these sections are in the reference"):
        CliRunner().invoke(
            app,
            ["evaluate", str(run), str(cohort_file), "--on", "S0", "-o", str(tmp_path)],
            catch_exceptions=False,
        )


def test_the_held_out_section_cannot_change_the_training(
    run: Path, config_file: Path, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    other = write_cohort(tmp_path / "other", ("st", "st", "st"), n_genes=GENES)
    table = other.parent / "S2.tsv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], *(line.split("\t")[0] + "\t7" * GENES for line in lines[1:])]) + "\n")
    bleep_train("train", other, "--config", config_file, "--hold-out", HELD_OUT, "-o", tmp_path / "run")
    for name in ("checkpoint.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()
    panels = [json.loads((r / "run.json").read_text())["panel"] for r in (run, tmp_path / "run")]
    assert panels[0] == panels[1]


def test_a_run_is_not_overwritten_nor_resumed_with_another_recipe(
    run: Path, cohort_file: Path, config_file: Path
) -> None:
    base = ["train", cohort_file, "--config", config_file, "--hold-out", HELD_OUT, "-o", run]
    for extra, error, word in (
        ([], OutputError, "--resume"),
        (["--resume", "--set", "optim.seed=9"], UsageError, "optim.seed"),
    ):
        with pytest.raises(error, match=word):
            bleep_train(*base, *extra)
    before = (run / "metrics.jsonl").read_text()
    bleep_train(*base, "--resume")  # finished already: nothing is done again
    assert (run / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("extra", [["--on", ""], ["--on", "S9"]])
def test_unknown_sections_are_named(run: Path, cohort_file: Path, tmp_path: Path, extra: list[str]) -> None:
    with pytest.raises(BleepError, match=r"--on names no section|has no section S9"):
        bleep_train("evaluate", run, cohort_file, *extra, "-o", tmp_path)


def test_half_weights_halve_the_tower_and_keep_the_answer(run: Path, tmp_path: Path) -> None:
    said = bleep_train("export", run, "-o", tmp_path / "half.zarr.zip", "--half-weights")
    assert "neighbours agree" in said
    whole, half = open_bundle(run / "bundle.zarr"), open_bundle(tmp_path / "half.zarr.zip")
    assert len(half.tower("image")) < 0.6 * len(whole.tower("image"))
    assert (whole.embeddings("image") * half.embeddings("image")).sum(axis=1).min() > 0.999


def test_ablate_fills_its_grid_once(cohort_file: Path, config_file: Path, tmp_path: Path) -> None:
    arguments = ["ablate", cohort_file, "--config", config_file, "-o", tmp_path, "--losses", "paper,mixed"]
    said = bleep_train(*arguments, "-k", "5,10", "--seeds", "0,1")
    results = tmp_path / "results.jsonl"
    before = results.read_text()
    jobs = [json.loads(line)["job"] for line in before.splitlines()]
    assert len(jobs) == 3 + 2 * 2 * 3  # baselines, then objectives × seeds × folds
    assert "| ridge |" in said
    assert "| bleep | mixed | 10 | average | expression |" in said
    assert bleep_train(*arguments, "-k", "5,10", "--seeds", "0,1") == said
    assert results.read_text() == before
