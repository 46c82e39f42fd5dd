"""Seconds from the start of a process to the help text, a loaded image tower, the first tile's vector, and the
result line of a whole slide, with its table and its picture.

    python benchmarks/startup.py [--ref BUNDLE] [--slide SLIDE] [--repeats 9] [--json FILE]

Every figure is a process of its own, in turn with a bare ``python -c pass``, the disk warm; medians, and their
ratio to the bare interpreter. ``inside_s`` is timed inside: creating the session alone, the session with index and
expression (which decide whether a cache of optimised graphs would pay), ``bleep demo`` until its first line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from side_by_side import Measured, child, median, report

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset

FIRST_TILE = """
import sys, time
from contextlib import closing
from pathlib import Path
from bleep_cli.bundle.open import open_bundle
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
bundle, options = open_bundle(Path(sys.argv[1])), PredictOptions(device="cpu", views=1)
ready = plan(Path(sys.argv[2]), bundle.info, options)
start = time.perf_counter()
predictor = Predictor(bundle, options)
loaded = time.perf_counter() - start
with closing(predictor.embedder.stream(ready.slide, ready.grid, 1)) as stream:
    next(stream)
print(loaded)
"""
SESSION = """
import sys, time
from pathlib import Path
from bleep_cli.bundle.open import open_bundle
from bleep_cli.towers.session import make_session
model = open_bundle(Path(sys.argv[1])).tower("image")
start = time.perf_counter()
make_session(model, "cpu", "image tower", threads=1)
print(time.perf_counter() - start)
"""
FIRST_LINE = """
import subprocess, sys, time
start = time.perf_counter()
command = [sys.executable, "-m", "bleep_cli.cli", "demo", "--device", "cpu", "-o", sys.argv[1]]
with subprocess.Popen(command, stdout=subprocess.PIPE) as demo:
    demo.stdout.readline()
    told = time.perf_counter() - start
    demo.stdout.read()
print(told)
"""
TIMED = ("session created", "first tile embedded", "bleep demo")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", default=str(asset(DEMO_BUNDLE)))
    parser.add_argument("--slide", default=str(asset(DEMO_SLIDE)))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "bleep --help": [sys.executable, "-m", "bleep_cli.cli", "--help"],
        "bleep --version": [sys.executable, "-m", "bleep_cli.cli", "--version"],
        "session created": [sys.executable, "-c", SESSION, arguments.ref],
        "first tile embedded": [sys.executable, "-c", FIRST_TILE, arguments.ref, arguments.slide],
    }
    folder = tempfile.TemporaryDirectory(prefix="bleep-bench-")  # gone with the process
    commands["bleep demo"] = [sys.executable, "-c", FIRST_LINE, folder.name]
    predict = ["predict", arguments.slide, "--ref", arguments.ref, "--device", "cpu", "--force", "-o", folder.name]
    commands["slide predicted and drawn"] = [sys.executable, "-m", "bleep_cli.cli", *predict]
    commands["slide predicted, no picture"] = [*commands["slide predicted and drawn"], "--format", "h5ad"]
    runs: dict[str, list[Measured]] = {name: [] for name in commands}
    for turn in range(arguments.repeats + 1):
        for name, command in commands.items():
            found = child(command)
            if turn:  # the first warms the disk
                runs[name].append(found)
    bare = median([run.wall_s for run in runs["python -c pass"]])
    rows = [
        {
            "what": name,
            "wall_s": median([run.wall_s for run in found]),
            "cpu_s": median([run.cpu_s for run in found]),
            "peak_rss_mb": max(run.rss_mb for run in found),
            "wall_to_python": round(median([run.wall_s for run in found]) / bare, 1),
            "inside_s": median([float(run.out) for run in found]) if name in TIMED else None,
        }
        for name, found in runs.items()
    ]
    report(rows, arguments.json, ref=Path(arguments.ref).name)


if __name__ == "__main__":
    main()
