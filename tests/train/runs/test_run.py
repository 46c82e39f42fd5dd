"""Run folders: nothing is overwritten or mixed by accident, and held-out sections teach nothing."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.io import mmread, mmwrite
from scipy.sparse import coo_matrix
from typer.testing import CliRunner

from bleep_cli.bundle.open import open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import OutputError, UsageError
from bleep_train import __main__ as command
from bleep_train.config.toml import load_config
from bleep_train.runs.export import load_towers, prepare_run
from bleep_train.runs.record import open_run
from bleep_train.runs.train import train_run
from bleep_train.training import start
from bleep_train.training.frozen import weights_hash
from bleep_train.training.start import starting_backbone

Train = Callable[..., str]


def record(run: Path) -> dict[str, Any]:
    return json.loads((run / "run.json").read_text())


def weights(run: Path) -> dict[str, torch.Tensor]:
    return {k: v for k, v in load_file(run / "checkpoint.safetensors").items() if k.startswith("model.")}


def same_weights(a: Path, b: Path) -> bool:
    first, second = weights(a), weights(b)
    return set(first) == set(second) and all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_records_what_it_was_trained_on(run: Path) -> None:
    told = record(run)
    assert [s["id"] for s in told["sections"]] == ["A-S1", "B-S1"]
    assert [s["donor"] for s in told["sections"]] == ["A", "B"]
    assert told["held_out"] == ["C-S1"]
    assert len(told["panel"]) == len(set(told["panel"])) == 300
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 12
    opened = open_run(run)
    assert opened.config == load_config("tiny", ["data.tile_px=64", "optim.epochs=12"])
    assert opened.section_ids == ("A-S1", "B-S1")
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


def test_a_held_out_section_teaches_nothing(phantoms: Path, run: Path, train_tiny: Train, tmp_path: Path) -> None:
    """Other counts and another picture of C: the same panel and the same weights."""
    cohort = shutil.copytree(phantoms.parent, tmp_path / "cohort") / "cohort.toml"
    matrix = cohort.parent / "C-S1" / "outs" / "filtered_feature_bc_matrix" / "matrix.mtx.gz"
    counts = mmread(matrix, spmatrix=False).toarray()
    with gzip.open(matrix, "wb") as file:
        mmwrite(file, coo_matrix(7 * counts[::-1] + 1), field="integer")
    picture = cohort.parent / "C-S1" / "C-S1.tif"
    height, width = tifffile.imread(picture).shape[:2]
    Image.new("RGB", (width, height), (200, 120, 180)).save(picture)
    out = tmp_path / "again"
    shutil.copytree(run / "cache", out / "cache")
    train_tiny(cohort, out)
    assert record(out)["panel"] == record(run)["panel"]
    assert record(out)["sections"] == record(run)["sections"]
    assert same_weights(out, run)


def test_a_run_is_not_trained_over(phantoms: Path, own_run: Path, train_tiny: Train) -> None:
    before = {p.name: p.read_bytes() for p in own_run.iterdir() if p.is_file()}
    with pytest.raises(OutputError, match="own holds a run already; resume goes on with it, force replaces it"):
        train_tiny(phantoms, own_run)
    assert {p.name: p.read_bytes() for p in own_run.iterdir() if p.is_file()} == before


def test_resume_finishes_what_was_begun(phantoms: Path, run: Path, own_run: Path, train_tiny: Train) -> None:
    (own_run / "checkpoint.safetensors").unlink()
    printed = train_tiny(phantoms, own_run, options=["--resume"])
    assert "trained on 89 spots of sections A-S1, B-S1 (donors A, B), panel of 300 genes" in printed
    assert same_weights(own_run, run)
    assert (own_run / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()
    train_tiny(phantoms, own_run, options=["--resume"])  # nothing is left to do
    assert same_weights(own_run, run)


def test_resume_refuses_another_recipe_or_cohort(
    phantoms: Path, run: Path, own_run: Path, train_tiny: Train
) -> None:
    with pytest.raises(UsageError, match=r"begun with another loss\.name, optim\.seed"):
        train_tiny(phantoms, own_run, "optim.seed=3", "loss.name=clip", options=["--resume"])
    with pytest.raises(UsageError, match=r"another sections \(it has A-S1, B-S1\)"):
        train_tiny(phantoms, own_run, hold_out="", options=["--resume"])  # C would come in
    assert record(own_run) == record(run)
    assert open_run(own_run).config == open_run(run).config


def test_force_begins_anew(phantoms: Path, run: Path, own_run: Path, train_tiny: Train) -> None:
    train_tiny(phantoms, own_run, "optim.epochs=2", options=["--force"])
    assert len((own_run / "metrics.jsonl").read_text().splitlines()) == 2
    assert not same_weights(own_run, run)


def test_holding_out_must_leave_and_name_sections(phantoms: Path, train_tiny: Train, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"hold_out: cohort\.toml has no section D-S1"):
        train_tiny(phantoms, tmp_path / "run", hold_out="D-S1")
    with pytest.raises(UsageError, match="hold_out leaves no section to train on"):
        train_tiny(phantoms, tmp_path / "run", hold_out="A-S1, B-S1,C-S1")
    assert not (tmp_path / "run").exists()


def test_what_is_no_run_is_told(tmp_path: Path, own_run: Path) -> None:
    with pytest.raises(UsageError, match="nothing: not a run of bleep-train train"):
        open_run(tmp_path / "nothing")
    (own_run / "checkpoint.safetensors").unlink()
    with pytest.raises(UsageError, match="own has no checkpoint yet; finish it with bleep-train train --resume"):
        load_towers(open_run(own_run))


def test_standardised_towers_carry_the_training_statistics(
    phantoms: Path, own_run: Path, train_tiny: Train
) -> None:
    train_tiny(phantoms, own_run, "model.standardise=true", "optim.epochs=1", options=["--force"])
    towers = load_towers(open_run(own_run))
    features = np.concatenate([np.load(f) for f in sorted((own_run / "cache").glob("features-*-[AB]-S1-*.npy"))])
    np.testing.assert_allclose(towers.image.scale.mean, features.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)
    assert features.std() > 0.1
    scale = towers.expression.scale
    assert scale.mean.min() > 0  # log1p of genes that are detected
    assert not torch.equal(scale.std, torch.ones_like(scale.std))


def test_a_backbone_that_learns_is_saved_and_loaded(phantoms: Path, own_run: Path, train_tiny: Train) -> None:
    settings = ("model.trainable=last", "optim.epochs=1", "optim.batch_size=32", "optim.lr=0.01")
    train_tiny(phantoms, own_run, *settings, options=["--force"])
    opened = open_run(own_run)
    trained = load_towers(opened).image.backbone.state_dict()
    start = starting_backbone(opened.config).state_dict()
    moved = {name for name in start if not torch.equal(trained[name], start[name])}
    assert any("_blocks.15." in name for name in moved)
    assert all(name.split(".")[1] in ("_blocks", "_conv_head", "_bn1") for name in moved)
    assert {name.split(".")[2] for name in moved if "._blocks." in name} == {"15"}


@pytest.mark.slow
def test_random_weights_are_drawn_alike_in_training_and_evaluation(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def no_features(sections: Any, backbone: Any, *_rest: Any) -> list[Any]:
        seen.append(weights_hash(backbone))
        rng = np.random.default_rng(0)
        return [rng.normal(size=(len(s.barcodes), 8, backbone.dim)).astype(np.float32) for s in sections]

    monkeypatch.setattr(start, "cached_features", no_features)
    sets = ["model.backbone=resnet18", "model.weights=random", "optim.epochs=1"]
    for seed in (1, 2):
        config = load_config("tiny", [*sets, f"optim.seed={seed}"])
        train_run(phantoms, config, tmp_path / f"run{seed}", held_out=["C-S1"])
        torch.manual_seed(77)
        here = torch.get_rng_state()
        assert weights_hash(starting_backbone(config)) == seen[-1]
        assert torch.equal(torch.get_rng_state(), here)
    assert seen[0] != seen[1]


def test_errors_become_exit_codes(
    phantoms: Path, own_run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, code, told in (
        (["train", str(phantoms), "-o", str(own_run), "--config", "tiny"], 6, "own holds a run already"),
        (["train", str(phantoms), "-o", str(own_run), "--config", "huge"], 2, "--config huge: neither a preset"),
        (["train", "nowhere.toml", "-o", "x"], 2, "nowhere.toml: no such cohort file"),
    ):
        monkeypatch.setattr(sys, "argv", ["bleep-train", *args])
        with pytest.raises(SystemExit) as caught:
            command.main()
        assert caught.value.code == code
        error = capsys.readouterr().err
        assert error.startswith(f"bleep-train: {told}")
        assert error.count("\n") == 1


def messages(cohort: Path, out: Path, *settings: str, force: bool = False) -> str:
    """Trains on all but C, and returns what is said on stderr."""
    sets = [word for setting in ("data.tile_px=64", *settings) for word in ("--set", setting)]
    arguments = ["train", str(cohort), "-o", str(out), "--config", "tiny", "--hold-out", "C-S1", *sets]
    result = CliRunner().invoke(command.app, arguments + ["--force"] * force)
    if result.exception:
        raise result.exception
    return result.stderr


# --- protocol "paper"


@pytest.fixture(scope="module")
def leaking(phantoms: Path, run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A cohort of its own whose section C differs, a run of protocol "paper" on it, and what was said of it."""
    folder = tmp_path_factory.mktemp("leaking")
    cohort = shutil.copytree(phantoms.parent, folder / "cohort") / "cohort.toml"
    out = folder / "run"
    shutil.copytree(run / "cache", out / "cache")
    return cohort, out, messages(cohort, out, *LEAKING)


LEAKING = (
    "data.protocol=paper",
    "data.panel=hvg",
    "data.panel_genes=60",
    "data.harmony=true",
    "optim.epochs=2",
    "validation.by=section",
)


def change_counts(cohort: Path) -> None:
    """Other counts for C, the picture stays."""
    matrix = cohort.parent / "C-S1" / "outs" / "filtered_feature_bc_matrix" / "matrix.mtx.gz"
    counts = mmread(matrix, spmatrix=False).toarray()
    counts[::2] = np.random.default_rng(0).poisson(30, counts[::2].shape) * (np.arange(counts.shape[1]) % 2)
    with gzip.open(matrix, "wb") as file:
        mmwrite(file, coo_matrix(counts), field="integer")


def test_protocol_paper_reads_the_held_out_section_and_says_so(
    leaking: tuple[Path, Path, str], train_tiny: Train, tmp_path: Path
) -> None:
    cohort, out, said = leaking
    told = record(out)
    assert told["protocol"] == "paper"
    assert [s["id"] for s in told["sections"]] == ["A-S1", "B-S1"]  # what it is trained on
    assert [s["id"] for s in told["leaked"]] == told["held_out"] == ["C-S1"]
    assert any(
        "protocol paper: held-out sections C-S1 entered the panel and the Harmony fit" in n for n in told["notes"]
    )
    assert "results on them are flattered by that leak" in said
    free = tmp_path / "free"
    shutil.copytree(out / "cache", free / "cache")
    train_tiny(cohort, free, *LEAKING[1:])
    assert record(free)["protocol"] == "leak-free"
    assert record(free)["leaked"] == []
    assert set(record(free)["panel"]) < set(told["panel"])  # C brought genes of its own
    assert not same_weights(free, out)


def test_export_reads_the_leaked_section_again_for_the_same_panel(
    leaking: tuple[Path, Path, str], bleep_train: Train, tmp_path: Path
) -> None:
    cohort, out, _ = leaking
    bleep_train("export", out, "-o", tmp_path / "leaking.zarr")
    bundle = open_bundle(tmp_path / "leaking.zarr")
    assert bundle.info.training["data"]["protocol"] == "paper"
    assert bundle.info.training["validation"]["by"] == "section"
    assert record(out)["validation"]["names"] == ["B-S1"]
    assert [s.id for s in bundle.info.sections] == ["A-S1", "B-S1"]  # the validation section, too
    assert bundle.info.tower_input == "harmony"
    assert len(bundle.panel) == len(record(out)["panel"])
    moved = tmp_path / "moved"
    shutil.copytree(cohort.parent, moved / "cohort")
    shutil.copytree(out, moved / "run", ignore=shutil.ignore_patterns("cache"))
    change_counts(moved / "cohort" / "cohort.toml")
    told = {**record(out), "cohort": str(moved / "cohort" / "cohort.toml")}
    (moved / "run" / "run.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match=r"the sections in cohort\.toml changed since run was trained"):
        bleep_train("export", moved / "run", "-o", tmp_path / "moved.zarr")


def test_a_run_is_not_prepared_from_other_spots_than_it_was_trained_on(own_run: Path) -> None:
    """As another ``min_counts`` in the cohort file would give it."""
    told = record(own_run)
    sections = prepare_run(open_run(own_run)).sections
    assert [s["spots"] for s in told["sections"]] == [len(s.barcodes) for s in sections]
    told["sections"][0]["spots"] += 1
    (own_run / "run.json").write_text(json.dumps(told))
    with pytest.raises(UsageError, match="changed since own was trained"):
        prepare_run(open_run(own_run))


def test_a_leaking_run_is_not_resumed_with_another_section_held_out(
    leaking: tuple[Path, Path, str], train_tiny: Train, tmp_path: Path
) -> None:
    cohort, out, _ = leaking
    own = Path(shutil.copytree(out, tmp_path / "own"))
    before = record(own)
    with pytest.raises(UsageError, match=r"another sections .*, held-out sections \(it has C-S1\)"):
        train_tiny(cohort, own, *LEAKING, hold_out="B-S1", options=["--resume"])
    train_tiny(cohort, own, *LEAKING, options=["--resume"])
    assert record(own) == before


# --- validation


def test_the_chosen_epoch_is_recorded_and_its_weights_are_taken(
    phantoms: Path, own_run: Path, train_tiny: Train
) -> None:
    settings = ("validation.by=donor", "validation.every=1", "optim.epochs=8", "optim.lr=0.02")
    said = messages(phantoms, own_run, *settings, force=True)
    lines = [json.loads(line) for line in (own_run / "metrics.jsonl").read_text().splitlines()]
    best = max(lines, key=lambda line: line["validation_r"])
    told = record(own_run)
    assert told["chosen"] == {"epoch": best["epoch"], "validation_r": best["validation_r"]}
    b_spots = next(len(s.barcodes) for s in read_cohort(phantoms) if s.id == "B-S1")
    assert told["validation"] == {"by": "donor", "names": ["B"], "spots": b_spots, "margin": 0}
    assert f"epoch {best['epoch']} is kept" in said
    opened = open_run(own_run)
    assert opened.config.validation.by == "donor"
    kept = {k: v for k, v in load_file(own_run / "best.safetensors").items() if k.startswith("model.towers.image")}
    loaded = load_towers(opened).image.state_dict()
    assert len(kept) == len(loaded)
    assert all(torch.equal(loaded[key.removeprefix("model.towers.image.")], value) for key, value in kept.items())
    last = load_file(own_run / "checkpoint.safetensors")
    differs = any(not torch.equal(last[key], value) for key, value in kept.items())
    assert differs == (best["epoch"] != 7)
    train_tiny(phantoms, own_run, "optim.epochs=1", options=["--force"])  # without validation
    assert not (own_run / "best.safetensors").exists()
    assert record(own_run)["chosen"] == {"epoch": 0}
    assert record(own_run)["validation"] == {"by": "none"}


def test_statistics_are_those_of_the_spots_that_are_learned_from(
    phantoms: Path, own_run: Path, train_tiny: Train
) -> None:
    settings = ("model.standardise=true", "optim.epochs=1", "validation.by=section", "validation.ids=A-S1")
    train_tiny(phantoms, own_run, *settings, options=["--force"])
    (features,) = (np.load(f) for f in (own_run / "cache").glob("features-*-B-S1-*.npy"))
    scale = load_towers(open_run(own_run)).image.scale
    np.testing.assert_allclose(scale.mean, features.mean(axis=(0, 1)), rtol=1e-4, atol=1e-5)
