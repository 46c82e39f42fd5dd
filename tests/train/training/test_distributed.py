"""Two processes with half a batch each learn what one process with the whole batch learns."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import ddp_worker
import numpy as np
import pytest
import torch
from ddp_worker import LOSSES, MICRO
from safetensors.torch import load_file
from torch import nn
from toy import metrics

from bleep_train.config.schema import Config, OptimConfig
from bleep_train.training.batches import epoch_batches
from bleep_train.training.distributed import Group, synchronised

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What the worker writes, run in this process and by two processes under torchrun (gloo)."""
    one, two = (tmp_path_factory.mktemp("ranks") / name for name in ("one", "two"))
    ddp_worker.work(Group(), one)
    command = [*TORCHRUN, str(Path(ddp_worker.__file__)), str(two)]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # the worker imports what the tests do
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env=os.environ | path
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return one, two


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["features", "tiles"])
@pytest.mark.parametrize("micro", MICRO)
def test_two_ranks_have_the_gradients_of_one(
    one_and_two: tuple[Path, Path], loss: str, kind: str, micro: int
) -> None:
    """And micro-batches of two have those of the whole batch."""
    whole = load_file(one_and_two[0] / f"{loss}-{kind}-0.safetensors")
    assert len(whole) >= 13
    for folder in one_and_two:
        other = load_file(folder / f"{loss}-{kind}-{micro}.safetensors")
        assert whole.keys() == other.keys()
        for name, gradient in whole.items():
            torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
            assert gradient.abs().max() > 0, name


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES[:2])
@pytest.mark.parametrize("micro", MICRO)
def test_two_ranks_have_the_loss_curve_of_one(one_and_two: tuple[Path, Path], loss: str, micro: int) -> None:
    name = f"{loss}-{micro}"
    one, two = (metrics(folder / name) for folder in one_and_two)
    assert len(one) == len(two) == 2
    for mine, other in zip(one, two, strict=True):
        assert mine.keys() == other.keys()
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert one[0]["loss"] != one[1]["loss"]
    weights, others = (load_file(folder / f"{name}.safetensors") for folder in one_and_two)
    for key, weight in weights.items():
        torch.testing.assert_close(others[key], weight, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beside", "begun", "alone"])
def test_two_ranks_have_the_closed_forms_of_one(one_and_two: tuple[Path, Path], name: str) -> None:
    one, two = (load_file(folder / f"{name}.safetensors") for folder in one_and_two)
    assert one.keys() == two.keys()
    assert len(metrics(one_and_two[1] / name)) == (0 if name == "alone" else 2)
    for key, weight in one.items():
        torch.testing.assert_close(two[key], weight, rtol=1e-3, atol=1e-4, msg=key)
    fixed = "image.head.closed.weights"
    assert (fixed in one) == (name != "begun")
    assert name == "begun" or torch.equal(one[fixed], two[fixed])


@pytest.mark.slow
def test_two_ranks_train_what_one_trains(
    write_cohort: Callable[..., Path], bleep_train: Callable[..., str], tmp_path: Path
) -> None:
    """The command under torchrun: the same curve and weights as alone, dropout aside."""
    cohort = write_cohort(tmp_path / "cohort", ("st", "st"), n_genes=20)
    settings = ["data.tile_um=[64.0]", "data.tile_px=32", "model.dropout=0.0", "model.dim=16", "optim.epochs=3"]
    arguments = ["train", str(cohort), "--config", "default", *(w for s in settings for w in ("--set", s))]
    assert "trained on" in bleep_train(*arguments, "-o", tmp_path / "one")
    shutil.copytree(tmp_path / "one" / "cache", tmp_path / "two" / "cache")  # features need not be computed again
    command = [*TORCHRUN, "-m", "bleep_train", *arguments, "-o", str(tmp_path / "two")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.count("trained on") == 1
    one, two = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    for name in (n for n in one if n.startswith("model.")):
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-4, msg=name)


def test_a_group_of_one_does_nothing() -> None:
    group, tensor, module = Group(), torch.ones(3, 2), nn.Linear(2, 2)
    assert group.leads
    assert group.gather(tensor, 3) is tensor
    assert group.spread_over(module, torch.device("cpu")) is module
    np.testing.assert_array_equal(group.share(np.arange(5)), np.arange(5))


def test_ranks_share_a_batch_without_overlap() -> None:
    shares = [Group(rank, 3).share(np.arange(7)) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(shares), np.arange(7))
    assert Group(1, 3).sizes(7) == [len(share) for share in shares]


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_every_rank_has_a_spot_of_every_batch(world: int) -> None:
    config = Config(optim=OptimConfig(batch_size=16))
    for n in (16, 17, 18, 19, 23, 24, 33):
        batches = epoch_batches(n, config, 0, world)
        assert sum(len(batch.rows) for batch in batches) == n
        for batch in batches:
            assert min(len(batch.share(Group(rank, world)).rows) for rank in range(world)) >= 1


def test_batch_norms_that_learn_become_synchronised_and_frozen_ones_do_not() -> None:
    """The conversion needs no GPU; running it does, and on a CPU nothing is converted."""
    from bleep_train.backbones.build import build_backbone

    net = build_backbone("resnet18", "random")
    net.requires_grad_(False)
    for stage in net.stages[-1:]:
        stage.requires_grad_(True)
    weights, keys = list(net.parameters()), list(net.state_dict())
    assert Group(0, 2).share_statistics(net, torch.device("cpu")) is net
    assert not any(isinstance(m, nn.SyncBatchNorm) for m in net.modules())
    synchronised(net)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    learning = [m for m in norms if m.weight.requires_grad]
    assert 0 < len(learning) < len(norms)
    assert all(isinstance(m, nn.SyncBatchNorm) == m.weight.requires_grad for m in norms)
    assert list(net.state_dict()) == keys  # checkpoints do not know the difference
    assert all(a is b for a, b in zip(weights, net.parameters(), strict=True))
