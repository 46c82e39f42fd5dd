"""Runs with heads in closed form: trained, gone on with, exported, evaluated and distilled like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.errors import UsageError
from bleep_train.config.toml import load_config
from bleep_train.model.towers import ClosedFormHead
from bleep_train.runs.export import load_towers
from bleep_train.runs.record import open_run
from bleep_train.runs.student import student_config

Command = Callable[..., str]
ALONE = ("loss.name=cca", "model.components=20", "reference.aggregation=corrected")
BESIDE = ("model.heads=2", "model.closed_form=true", "model.components=10", "model.penalty=3", "optim.epochs=2")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def alone(phantoms: Path, train_tiny: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Closed forms alone, on A and B."""
    out = tmp_path_factory.mktemp("closed") / "alone"
    train_tiny(phantoms, out, *ALONE)
    return out


@pytest.fixture(scope="module")
def beside(phantoms: Path, train_tiny: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed form beside two heads that learn a little."""
    out = tmp_path_factory.mktemp("closed") / "beside"
    train_tiny(phantoms, out, *BESIDE)
    return out


def heads(run: Path) -> list[ClosedFormHead]:
    towers = load_towers(open_run(run))
    return [m for m in (*towers.image.modules(), *towers.expression.modules()) if isinstance(m, ClosedFormHead)]


def test_the_record_says_what_was_chosen(alone: Path, beside: Path) -> None:
    told = json.loads((alone / "run.json").read_text())
    assert told["closed_form"]["chosen_by"] == "leave one donor out"
    assert (told["closed_form"]["groups"], told["closed_form"]["components"]) == (2, 20)
    assert told["chosen"] == {"epoch": 0}
    assert (alone / "metrics.jsonl").read_text() == ""
    assert json.loads((beside / "run.json").read_text())["closed_form"] == {"penalty": 3.0, "components": 10}


def test_going_on_with_it_changes_nothing(
    alone: Path, phantoms: Path, train_tiny: Command, tmp_path: Path
) -> None:
    own = Path(shutil.copytree(alone, tmp_path / "own"))
    (own / "checkpoint.safetensors").unlink()  # killed before it was written
    train_tiny(phantoms, own, *ALONE, options=("--resume",))
    for mine, theirs in zip(heads(own), heads(alone), strict=True):
        assert torch.equal(mine.weights, theirs.weights)
    with pytest.raises(UsageError, match=r"begun with another model\.penalty"):
        train_tiny(phantoms, own, *ALONE, "model.penalty=5", options=("--resume",))


@pytest.mark.parametrize("which", ["alone", "beside"])
def test_it_exports_and_is_evaluated(
    which: str, request: pytest.FixtureRequest, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """Export itself refuses ONNX towers that are not torch's."""
    run = request.getfixturevalue(which)
    bleep_train("export", run, "-o", tmp_path / "b.zarr")
    bundle = open_bundle(tmp_path / "b.zarr")
    assert bundle.info.aggregation == ("corrected" if which == "alone" else "average")
    assert bundle.embeddings("image").shape[1] == (20 if which == "alone" else 2 * 128 + 10)
    assert [check for check in verify(bundle) if not check.ok] == []
    bleep_train("evaluate", tmp_path / "b.zarr", phantoms, "--on", "C-S1", "-o", tmp_path / "r", "--no-ridge")
    r = json.loads((tmp_path / "r" / "metrics.json").read_text())["sections"]["C-S1"]["bleep"]["hvg50"]
    assert r > 0.2


def test_a_student_of_it_learns_its_closed_form(beside: Path, bleep_train: Command, tmp_path: Path) -> None:
    settings = (
        "data.tile_px=32",
        "distill.stride_um=60",
        "optim.batch_size=64",
        "optim.lr=1e-3",
        "optim.epochs=15",
    )
    words = [word for setting in settings for word in ("--set", setting)]
    bleep_train("distill", beside, "-o", tmp_path / "s", *words)
    told = [json.loads(line)["cosine"] for line in (tmp_path / "s" / "metrics.jsonl").read_text().splitlines()]
    assert told[-1] > max(0.7, told[0] + 0.1)
    (image, expression), (_, teachers) = heads(tmp_path / "s"), heads(beside)
    assert torch.equal(expression.weights, teachers.weights)
    assert float(image.mean.abs().max()) > 0  # it begins at 0, and learned


@pytest.mark.parametrize(
    "change", ["model.closed_form=false", "model.components=11", "model.start=cca", "model.heads=1"]
)
def test_a_student_has_its_teachers_heads(beside: Path, change: str) -> None:
    name = change.partition("=")[0].replace(".", r"\.")
    with pytest.raises(UsageError, match=rf"a student shares {name} with its teacher"):
        student_config(open_run(beside).config, "student", [change])


def test_a_students_backbone_may_learn(beside: Path, tmp_path: Path) -> None:
    config = student_config(open_run(beside).config, "student", ["model.trainable=last"])
    assert (config.model.trainable, config.model.closed_form) == ("last", True)
    from bleep_train.runs.record import begin

    begin(
        tmp_path, json.loads((beside / "run.json").read_text()) | {"teacher": {"run": "beside"}}, config, anew=True
    )
    assert open_run(tmp_path).config == config
    with pytest.raises(UsageError, match="needs features that stay"):
        load_config(str(tmp_path / "config.toml"))


# --- one donor


def test_one_donor_is_warned_of_once_and_recorded(
    phantoms: Path, train_tiny: Command, tmp_path: Path, capfd: Any
) -> None:
    train_tiny(phantoms, tmp_path / "r", *ALONE, "validation.by=auto", hold_out="B-S1,C-S1")
    told = json.loads((tmp_path / "r" / "run.json").read_text())
    (note,) = (n for n in told["notes"] if "one donor" in n)
    assert note.startswith("all training sections are of one donor (A): ")
    assert "Add sections of other donors to the cohort file; see docs/metrics.md" in note
    assert told["validation"]["by"] == "blocks"
    assert told["closed_form"]["chosen_by"] == "leave one block out"


def test_several_donors_are_not(alone: Path) -> None:
    assert not [n for n in json.loads((alone / "run.json").read_text())["notes"] if "one donor" in n]
