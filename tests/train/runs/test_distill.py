"""A student learns its teacher's vectors, finds the same neighbours, and is a run like any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bleep_cli.bundle.open import open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.types import TileSpec
from bleep_train.config.schema import DistillConfig, ValidationConfig
from bleep_train.config.toml import load_config
from bleep_train.data.dense import dense_section
from bleep_train.runs.export import load_towers
from bleep_train.runs.record import open_run
from bleep_train.runs.student import distill_run, student_config
from bleep_train.training.distil import DistillLoss

Command = Callable[..., str]
SMALL = ("data.tile_px=32", "distill.stride_um=60", "optim.batch_size=64", "optim.lr=1e-3", "optim.epochs=30")
FROZEN = (*SMALL, "model.trainable=frozen")


def distil(bleep_train: Command, teacher: Path, out: Path, *settings: str, options: Any = ()) -> str:
    sets = [word for setting in settings for word in ("--set", setting)]
    return bleep_train("distill", teacher, "-o", out, *sets, *options)


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def student(run: Path, bleep_train: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A student of the shared run on a frozen backbone, and what the command printed."""
    out = tmp_path_factory.mktemp("students") / "student"
    return out, distil(bleep_train, run, out, *FROZEN)


# --- what it learns from


def test_a_dense_section_is_the_tissue_between_the_spots(phantoms: Path) -> None:
    (section,) = read_cohort(phantoms, only=["A-S1"])
    spec = TileSpec(32, (100.0,))
    dense, denser = (dense_section(section, spec, um) for um in (100.0, 50.0))
    assert 3 < len(denser.barcodes) / len(dense.barcodes) < 5
    assert len(set(denser.barcodes)) == len(denser.barcodes) == len(denser.xy_l0) == denser.counts.shape[0]
    assert denser.counts.nnz == 0
    assert (denser.image, denser.donor) == (section.image, section.donor)
    assert len({section.sha256, dense.sha256, denser.sha256}) == 3
    step = np.unique(np.diff(np.unique(dense.xy_l0[:, 0])).round(3))
    assert len(step) == 1


# --- the loss


def vectors(n: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)), dim=1)


def test_the_loss_is_zero_at_the_teacher_and_nowhere_else() -> None:
    loss = DistillLoss(vectors(20, 0).numpy(), DistillConfig())
    teacher = vectors(5, 1)
    value, cosine = loss(teacher, teacher)
    assert float(value) == pytest.approx(0, abs=1e-5)
    assert float(cosine) == pytest.approx(1)
    value, cosine = loss(vectors(5, 2), teacher)
    assert float(value) > 0.5
    assert float(cosine) < 0.8


def test_neighbours_weigh_what_moves_them() -> None:
    """Two errors of the same cosine: the one across the spots costs more than the one beside them all."""
    spots = F.normalize(torch.tensor([[1.0, 0.2, 0], [1, -0.2, 0], [1, 0, 0]]), dim=1)
    teacher = torch.tensor([[1.0, 0, 0]])
    across = F.normalize(torch.tensor([[1.0, 0.4, 0]]), dim=1)
    beside = F.normalize(torch.tensor([[1.0, 0, 0.4]]), dim=1)
    weighted = DistillLoss(spots.numpy(), DistillConfig(neighbours=10.0))
    plain = DistillLoss(spots.numpy(), DistillConfig(neighbours=0.0))
    assert float(plain(across, teacher)[0]) == pytest.approx(float(plain(beside, teacher)[0]), abs=1e-6)
    assert float(weighted(across, teacher)[0]) > 1.5 * float(weighted(beside, teacher)[0])


def test_the_loss_is_its_formula() -> None:
    spots, teacher, student = vectors(6, 0), vectors(3, 1), vectors(3, 2)
    value, _ = DistillLoss(spots.numpy(), DistillConfig(neighbours=2.0, temperature=0.5))(student, teacher)
    p, q = (torch.softmax(v @ spots.T / 0.5, dim=1).double() for v in (teacher, student))
    divergence = (p * (p / q).log()).sum(dim=1).mean()
    expected = (1 - (student * teacher).sum(dim=1)).mean() + 2.0 * 0.5 * divergence
    assert float(value) == pytest.approx(float(expected), rel=1e-5)


# --- the run


def test_it_learns_the_teachers_vectors(student: tuple[Path, str], run: Path) -> None:
    out, printed = student
    told = lines(out)
    assert len(told) == 30
    assert told[-1]["cosine"] > max(0.8, told[0]["cosine"] + 0.1)
    assert told[-1]["loss"] < 0.5 * told[0]["loss"]
    standings = {(s["tower"], s["views"]): s for s in json.loads((out / "student.json").read_text())["towers"]}
    assert list(standings) == [("teacher", 8), ("teacher", 1), ("student", 8), ("student", 1)]
    whole = standings["teacher", 8]
    assert whole["cost"]["cosine"] == pytest.approx(1, abs=1e-5)
    assert (whole["cost"]["overlap50"], whole["cost"]["delta_r_hvg50"]) == (1, 0)
    alone = standings["student", 1]
    assert alone["cost"]["overlap50"] > 0.75  # chance is about 0.55: 50 of some 90 spots
    assert abs(alone["r_hvg50"] - whole["r_hvg50"] - alone["cost"]["delta_r_hvg50"]) < 1e-4
    assert "held-out sections C-S1 (45 tiles)" in printed
    assert f"| student | 1 | {alone['r_hvg50']:.3f} |" in printed


def test_its_expression_tower_is_the_teachers(student: tuple[Path, str], run: Path) -> None:
    ours, theirs = (load_towers(open_run(path)).expression.state_dict() for path in (student[0], run))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    record = json.loads((student[0] / "run.json").read_text())
    assert record["teacher"]["run"] == "run"
    assert record["held_out"] == ["C-S1"]


def test_it_exports_and_predicts_one_view(
    student: tuple[Path, str], run: Path, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    bundle, folder = tmp_path / "student.zarr", tmp_path / "result"
    bleep_train("export", student[0], "-o", bundle)
    opened = open_bundle(bundle)
    assert opened.info.tile.px == 32
    assert (opened.info.views, opened.info.recommended_views) == (1, 1)
    teacher = tmp_path / "teacher.zarr"
    bleep_train("export", run, "-o", teacher)
    np.testing.assert_allclose(
        opened.embeddings("expression"), open_bundle(teacher).embeddings("expression"), atol=1e-5
    )
    bleep_train("evaluate", bundle, phantoms, "--on", "C-S1", "-o", folder, "--no-ridge")
    r = json.loads((folder / "metrics.json").read_text())["sections"]["C-S1"]["bleep"]["hvg50"]
    (alone,) = (
        s["r_hvg50"]
        for s in json.loads((student[0] / "student.json").read_text())["towers"]
        if (s["tower"], s["views"]) == ("student", 1)
    )
    assert r == pytest.approx(alone, abs=0.01)  # of 50 neighbours; student.json asks for half of the 90 spots


def test_the_whole_tower_learns_where_it_is_let(run: Path, bleep_train: Command, tmp_path: Path) -> None:
    out = tmp_path / "tuned"
    more = ("model.trainable=all", "model.standardise=true", "augment.stain_jitter=0.1")
    settings = (*SMALL[:-1], "optim.epochs=2", *more)
    distil(bleep_train, run, out, *settings)
    tuned = load_towers(open_run(out)).image.backbone.state_dict()
    fresh = load_towers(open_run(run)).image.backbone.state_dict()
    moved = [name for name in tuned if name in fresh and tuned[name].shape == fresh[name].shape]
    assert any(not torch.equal(tuned[name], fresh[name]) for name in moved)
    assert float(load_towers(open_run(out)).image.scale.std.sub(1).abs().max()) > 0.1
    assert lines(out)[1]["loss"] < lines(out)[0]["loss"]


def test_a_stopped_lesson_goes_on_as_if_unbroken(
    student: tuple[Path, str], run: Path, bleep_train: Command, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for out in (whole, broken):
        shutil.copytree(student[0] / "cache", out / "cache")
    settings = (*FROZEN[:-2], "model.trainable=frozen")
    distil(bleep_train, run, whole, *settings, "optim.epochs=4", "optim.schedule=constant")
    distil(bleep_train, run, broken, *settings, "optim.epochs=2", "optim.schedule=constant")
    distil(bleep_train, run, broken, *settings, "optim.epochs=4", "optim.schedule=constant", options=["--resume"])
    assert [r["loss"] for r in lines(broken)] == pytest.approx([r["loss"] for r in lines(whole)], rel=1e-5)


def test_micro_batches_change_nothing(
    student: tuple[Path, str], run: Path, bleep_train: Command, tmp_path: Path
) -> None:
    told = {}
    for size in (0, 24):
        out = tmp_path / str(size)
        shutil.copytree(student[0] / "cache", out / "cache")
        settings = (*FROZEN, "optim.epochs=2", "model.dropout=0.0", f"optim.micro_batch={size}")
        distil(bleep_train, run, out, *settings)
        told[size] = [(r["loss"], r["cosine"]) for r in lines(out)]
    np.testing.assert_allclose(told[24], told[0], rtol=1e-4)


def test_a_student_of_another_teacher_is_not_gone_on_with(
    student: tuple[Path, str], run: Path, own_run: Path, bleep_train: Command, tmp_path: Path
) -> None:
    told = "student is no student of own as it is now; force begins anew"
    with pytest.raises(UsageError, match=told):
        distil(bleep_train, own_run, student[0], *FROZEN, options=["--resume"])
    with pytest.raises(UsageError, match="own is no student of run as it is now"):
        distil(bleep_train, run, own_run, *FROZEN, options=["--resume"])


def test_several_processes_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="runs in one process; start it without torchrun"):
        distill_run(run, tmp_path / "student", "student")


def test_a_run_is_not_distilled_over(student: tuple[Path, str], run: Path, bleep_train: Command) -> None:
    before = (student[0] / "checkpoint.safetensors").read_bytes()
    with pytest.raises(OutputError, match="student holds a run already; resume goes on with it, force"):
        distil(bleep_train, run, student[0], *FROZEN)
    with pytest.raises(UsageError, match=r"begun with another optim\.lr"):
        distil(bleep_train, run, student[0], *FROZEN, "optim.lr=0.5", options=["--resume"])
    assert (student[0] / "checkpoint.safetensors").read_bytes() == before


def test_training_does_not_go_on_with_a_student(
    student: tuple[Path, str], phantoms: Path, bleep_train: Command
) -> None:
    config = student[0] / "config.toml"
    command = ["train", phantoms, "-o", student[0], "--config", config, "--hold-out", "C-S1", "--resume"]
    with pytest.raises(UsageError, match="student is a student; go on with bleep-train distill --resume"):
        bleep_train(*command)


# --- its configuration


def test_it_is_the_teachers_but_for_what_the_preset_says(run: Path) -> None:
    teacher = open_run(run).config
    student = student_config(teacher, "student", ["optim.seed=7"])
    assert student.data.tile_um == teacher.data.tile_um
    assert student.data.panel_genes == teacher.data.panel_genes
    assert student.model.dim == teacher.model.dim
    assert student.reference.recommended_views == 1
    assert student.optim.seed == 7
    assert load_config("student").model.levels == student.model.levels


@pytest.mark.parametrize("setting", ["data.panel_genes=10", "model.dim=8", "model.heads=3", "reference.k=5"])
def test_what_it_shares_is_not_changed(run: Path, setting: str) -> None:
    with pytest.raises(UsageError, match=rf"a student shares {setting.partition('=')[0]} with its teacher"):
        student_config(open_run(run).config, "student", [setting])


def test_it_has_no_validation_even_where_the_teacher_had(run: Path) -> None:
    teacher = replace(open_run(run).config, validation=ValidationConfig(by="section"))
    assert student_config(teacher, "student", []).validation == ValidationConfig()
    with pytest.raises(UsageError, match="a student has no validation"):
        student_config(teacher, "student", ["validation.by=spots"])


def test_the_preset_takes_a_teacher_of_any_recipe() -> None:
    """What only a learning backbone knows does not come along: the published recipe, stains, small batches."""
    paper = load_config("paper", ["augment.stain_jitter=0.2", "optim.micro_batch=64", "optim.compile=true"])
    student = student_config(paper, "student", [])
    assert (student.augment.stain_jitter, student.optim.micro_batch, student.optim.compile) == (0, 0, False)
    assert student.optim.schedule == "one-cycle"
    assert student.data.panel == paper.data.panel
