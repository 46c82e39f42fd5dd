"""A training process that is killed without warning (SIGKILL) and resumed has the curve of an unbroken one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import killed_worker
import pytest
import torch
from safetensors.torch import load_file
from toy import metrics

from bleep_train.training.checkpoint import BEST, CHECKPOINT, METRICS, checkpoint_meta


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As in the process that is killed: sums over another number of threads differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def unbroken(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken")
    run(folder)
    return folder


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(killed_worker.__file__)), str(folder), *options]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # the worker imports what the tests do
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | path)


def run(folder: Path, *options: str) -> None:
    process = start(folder, *options)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-2000:]


def lines(folder: Path) -> int:
    return len((folder / METRICS).read_text().splitlines()) if (folder / METRICS).exists() else 0


def kill_after(folder: Path, epochs: int) -> None:
    """Starts the training and kills it when it has finished so many epochs."""
    process = start(folder, "slowly")
    give_up = time.monotonic() + 240
    while lines(folder) < epochs and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, error[-2000:]  # neither finished nor failed by itself


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_curve_of_an_unbroken_one(unbroken: Path, tmp_path: Path) -> None:
    kill_after(tmp_path, 17)
    done = lines(tmp_path)
    assert 17 <= done < killed_worker.CONFIG.optim.epochs
    assert 0 < checkpoint_meta(tmp_path / CHECKPOINT)["epoch"] < done
    run(tmp_path, "resume")
    rs = [line["validation_r"] for line in metrics(tmp_path) if "validation_r" in line]
    assert len(set(rs)) == 10
    assert (tmp_path / METRICS).read_text() == (unbroken / METRICS).read_text()
    assert [line["epoch"] for line in metrics(tmp_path)] == list(range(killed_worker.CONFIG.optim.epochs))
    for name in (CHECKPOINT, BEST):
        mine, other = load_file(tmp_path / name), load_file(unbroken / name)
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[key], other[key]) for key in mine)  # optimiser state, too
        assert checkpoint_meta(tmp_path / name) == checkpoint_meta(unbroken / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in unbroken.iterdir())
