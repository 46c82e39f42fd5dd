"""Two processes with half a batch each give the gradients of one process with the whole batch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from bleep_train.config import OptimConfig
from bleep_train.distributed import Group
from bleep_train.loop import CollapseError, collapse_signs

WORKER = """
import sys, torch
from bleep_train.config import LossConfig, ModelConfig
from bleep_train.distributed import Group, join_group
from bleep_train.loss import ContrastiveLoss
from bleep_train.model import ExpressionTower, ProjectionHead
from safetensors.torch import save_file

group = join_group()
torch.manual_seed(0)
model = torch.nn.ModuleDict({
    "image": ProjectionHead(12, 8, 0.0),
    "spots": ExpressionTower(9, ModelConfig(dim=8, dropout=0.0)),
    "loss": ContrastiveLoss(LossConfig(name=sys.argv[2], temperature=0.5 if sys.argv[2] != "paper" else 1.0)),
})
n = 7  # odd: the ranks' shares differ in size
features, panel = torch.randn(n, 12), torch.randn(n, 9)
pre = torch.nn.functional.normalize(torch.randn(n, 4), dim=1)
rows = torch.from_numpy(group.share(torch.arange(n).numpy()))
image = group.gather(model["image"](features[rows]), n)
spots = group.gather(model["spots"](panel[rows]), n)
loss = model["loss"](image, spots, pre)
loss.backward()
group.average_gradients(model)
if group.leads:
    grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    save_file({**grads, "the loss": loss.detach()[None]}, sys.argv[1])
group.wait()
group.leave()
"""


def run_worker(folder: Path, loss: str, world: int) -> dict[str, torch.Tensor]:
    script, out = folder / "worker.py", folder / f"{loss}-{world}.safetensors"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(out), loss]
    if world > 1:
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world)]
        command = [sys.executable, *launch, *command[1:]]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    return load_file(out)


@pytest.mark.parametrize("loss", ["mixed", "unit", "paper"])
def test_two_ranks_have_the_gradients_of_one(tmp_path: Path, loss: str) -> None:
    one, two = run_worker(tmp_path, loss, 1), run_worker(tmp_path, loss, 2)
    assert one.keys() == two.keys()
    assert len(one) > 8
    for name, gradient in one.items():
        torch.testing.assert_close(two[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.abs().max() > 0, name


def test_two_ranks_train_what_one_trains(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    """The command under torchrun: the same curve and weights as alone, dropout aside."""
    cohort = write_cohort(tmp_path / "cohort", ("st", "st"), n_genes=20)
    settings = ["data.tile_um=[64.0]", "data.tile_px=32", "model.dropout=0.0", "model.dim=16", "optim.epochs=3"]
    arguments = ["train", str(cohort), "--config", "default", *(w for s in settings for w in ("--set", s))]
    alone = [sys.executable, "-m", "bleep_train", *arguments, "-o", str(tmp_path / "one")]
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    both = [*launch, "-m", "bleep_train", *arguments, "-o", str(tmp_path / "two")]
    for command in (alone, both):
        result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
        assert result.stdout.count("trained on") == 1
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    for name in (n for n in one if n.startswith("model.")):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_group_of_one_does_nothing() -> None:
    group, tensor = Group(), torch.ones(3, 2)
    assert group.leads
    assert group.gather(tensor, 3) is tensor
    np.testing.assert_array_equal(group.share(np.arange(5)), np.arange(5))
    shares = [Group(rank, 3).share(np.arange(7)) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(7))


def test_collapse_is_told_from_health() -> None:
    config = OptimConfig(epochs=20)
    healthy = {"epoch": 10, "loss": 4.0, "ln_batch": 6.0, "mean_cosine": 0.1, "effective_rank": 90.0}
    assert collapse_signs(healthy, config) == []
    for sick, word in (
        ({"mean_cosine": 0.999}, "mean cosine"),
        ({"effective_rank": 1.1}, "effective rank"),
        ({"loss": float("nan")}, "loss is nan"),
    ):
        assert word in collapse_signs({**healthy, **sick}, config)[0]
        assert collapse_signs({**healthy, **sick, "epoch": 0}, config) == []
    assert CollapseError.exit_code == 1
