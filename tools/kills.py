"""Kills predictions and references in the making at random moments, and looks at what is left.

    python tools/kills.py [--times 200] [--seed 0]

A result that is there is whole: it is read back, every value of it. The run after the last kill ends well, gives
what one that was never disturbed gives, and leaves nothing else behind.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.outputs.read import open_result

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "artifacts" / "demo-liver-phantom.zarr.zip"
SLIDE = ROOT / "artifacts" / "demo-slide.tif"


@dataclass(frozen=True)
class Work:
    """A command, and the folder that all it writes goes to."""

    words: tuple[str, ...]
    folder: Path

    def start(self) -> subprocess.Popen[bytes]:
        """The process."""
        command = [sys.executable, "-m", "bleep_cli.cli", *self.words]
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1577836800", "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def prediction(folder: Path) -> Work:
    """The demo's slide in three formats."""
    words = ("predict", str(SLIDE), "--ref", str(DEMO), "--format", "h5ad,zarr,png", "--gene", "CYP3A4", "--force")
    return Work((*words, "-o", str(folder)), folder)


def reference(folder: Path) -> Work:
    """A part of the demo's reference."""
    words = ("reference", "subset", str(DEMO), "--genes", "CYP3A4,GLUL", "--force")
    return Work((*words, "-o", str(folder / "part.zarr")), folder)


def kill(work: Work, times: int, seconds: float, rng: random.Random) -> Iterator[list[str]]:
    """Starts the work so often and kills it, at moments spread over ``seconds``; yields what is wrong then."""
    for _ in range(times):
        process = work.start()
        try:
            process.wait(rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        yield faults(work.folder)


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
    elif path.name == "part.zarr":
        failed = [check for check in verify(open_bundle(path)) if not check.ok]
        if failed:
            raise ValueError(f"{failed[0].name}: {failed[0].detail}")
    else:
        for _ in open_result(path):
            pass


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path, hidden ones too."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


def trial(make: Sequence[Work], times: int, seconds: float, seed: int) -> list[str]:
    """Kills the first, lets it end, and compares it with the second, which is let alone."""
    disturbed, alone = make
    rng, wrong = random.Random(seed), []
    for left in kill(disturbed, times, seconds, rng):
        wrong += left
    for work in (disturbed, alone):
        if code := work.start().wait():
            wrong.append(f"{' '.join(work.words[:2])} ended with {code}")
    if contents(disturbed.folder) != contents(alone.folder):
        wrong.append(f"{' '.join(disturbed.words[:2])}: what is there after kills is not what else would be")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=4.0, help="within which a process is killed")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wrong: list[str] = []
    for work in (prediction, reference):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            wrong += trial([work(Path(one)), work(Path(other))], given.times // 2, given.seconds, given.seed)
    print("\n".join(wrong) or f"{given.times // 2 * 2} kills: every result whole or not there")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
