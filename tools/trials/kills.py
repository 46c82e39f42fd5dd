"""Kills predictions, references and training runs in the making at random moments, and looks at what is left.

    python tools/trials/kills.py [--times 200] [--seed 0] [--only prediction]

A result that is there is whole: it is read back, every value of it. The run after the last kill ends well, gives
what one that was never disturbed gives, and leaves nothing else behind. Training goes on from its last checkpoint
each time. Half of the kills are of predictions, a quarter each of references and of training.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import safe_open

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.outputs.read import open_result
from bleep_train.phantom.section import write_phantom_cohort
from bleep_train.runs.record import open_run

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "artifacts" / "demo-liver-phantom.zarr.zip"
SLIDE = ROOT / "artifacts" / "demo-slide.tif"
BLEEP, TRAIN = "bleep_cli.cli", "bleep_train"
NO_EARLIER = 0.2  # of a run's time: before that a process loads its libraries


@dataclass(frozen=True)
class Work:
    """A command, and the folder that all it writes goes to."""

    module: str
    words: tuple[str, ...]
    folder: Path

    def start(self) -> subprocess.Popen[bytes]:
        """The process."""
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1577836800", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", self.module, *self.words]
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prediction(folder: Path, _cohort: Path) -> Work:
    """The demo's slide in three formats."""
    words = ("predict", str(SLIDE), "--ref", str(DEMO), "--format", "h5ad,zarr,png", "--gene", "CYP3A4", "--force")
    return Work(BLEEP, (*words, "-o", str(folder)), folder)


def reference(folder: Path, cohort: Path) -> Work:
    """The demo's reference and a cohort in one."""
    words = ("build-reference", str(cohort), "--base", str(DEMO), "--force", "-o", str(folder / "grown.zarr"))
    return Work(BLEEP, words, folder)


def training(folder: Path, cohort: Path) -> Work:
    """A small run that goes on where it was killed."""
    words = ("train", str(cohort), "--config", "tiny", "--set", "data.tile_px=64", "--set", "optim.epochs=60")
    return Work(TRAIN, (*words, "--resume", "-o", str(folder / "run")), folder)


WORKS: dict[str, Callable[[Path, Path], Work]] = {
    "prediction": prediction,
    "reference": reference,
    "training": training,
}


def small_cohort(folder: Path) -> Path:
    """The ``cohort.toml`` of two synthetic sections."""
    return write_phantom_cohort(folder, 5, donors=("A", "B"), size_um=(600.0, 600.0))


def kill(work: Work, times: int, seconds: float, rng: random.Random) -> Iterator[list[str]]:
    """Starts the work so often and kills it, at moments spread over ``seconds``; yields what is wrong then.

    What ends before its kill and would find nothing left to do begins anew.
    """
    for _ in range(times):
        process = work.start()
        try:
            process.wait(rng.uniform(NO_EARLIER * seconds, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        yield faults(work.folder)
        if process.returncode == 0 and "--resume" in work.words:
            shutil.rmtree(work.folder / "run")


def faults(folder: Path) -> list[str]:
    """What is in a folder under the name of a result, and is none."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        try:
            _read(path)
        except Exception as error:
            found.append(f"{path.name}: {type(error).__name__}: {error}")
    return found


def _read(path: Path) -> None:
    if path.suffix == ".png":
        with Image.open(path) as picture:
            picture.load()
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.name == "run":
        _read_run(path)
    elif path.name == "grown.zarr":
        failed = [check for check in verify(open_bundle(path)) if not check.ok]
        if failed:
            raise ValueError(f"{failed[0].name}: {failed[0].detail}")
    else:
        for _ in open_result(path):
            pass


def _read_run(path: Path) -> None:
    """Every file of a training run that is there under its own name."""
    for file in path.rglob("*"):
        if file.name.startswith(".") or file.is_dir():
            continue
        if file.suffix == ".npy":
            np.load(file)
        elif file.suffix == ".safetensors":
            with safe_open(file, framework="numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                    tensors.get_tensor(name)
        elif file.suffix == ".jsonl":  # its last line may be half: it is of an epoch that is done again
            for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n"):
                    json.loads(line)
    if (path / "run.json").exists():
        open_run(path)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path, hidden ones too."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def trial(name: str, cohort: Path, folder: Path, times: int, seed: int) -> list[str]:
    """Lets the work end alone, kills it as often within the time that took, lets it end, and compares the two."""
    alone, disturbed = (WORKS[name](_made(folder / which), cohort) for which in ("alone", "killed"))
    begun = time.monotonic()
    wrong = _end(alone)
    for left in kill(disturbed, times, time.monotonic() - begun, random.Random(seed)):
        wrong += left
    wrong += _end(disturbed)
    return wrong + [f"{name}: {what}" for what in differences(contents(disturbed.folder), contents(alone.folder))]


def differences(is_there: dict[str, bytes], would_be: dict[str, bytes]) -> list[str]:
    """What a folder holds otherwise than one that was never disturbed."""
    left = [f"{file} was left behind" for file in sorted(is_there.keys() - would_be.keys())]
    changed = [file for file, content in sorted(would_be.items()) if is_there.get(file) != content]
    return left + [f"{file} is not what it would be without kills" for file in changed]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _end(work: Work) -> list[str]:
    code = work.start().wait()
    return [f"{work.words[0]} ended with {code}"] if code else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=WORKS, help="kills of this work alone")
    given = parser.parse_args()
    times = {"prediction": given.times // 2, "reference": given.times // 4, "training": given.times // 4}
    if given.only:
        times = {given.only: given.times}
    with tempfile.TemporaryDirectory() as name:
        cohort = small_cohort(Path(name, "cohort"))
        wrong = [
            fault for work in times for fault in trial(work, cohort, Path(name, work), times[work], given.seed)
        ]
    print("\n".join(wrong) or f"{sum(times.values())} kills: every result whole or not there")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
