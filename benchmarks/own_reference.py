"""Time and peak memory of ``bleep build-reference`` with towers fitted to the cohort's own sections.

    python benchmarks/own_reference.py COHORT [--views 1 8] [--only C2,C3] [--backbone FILE.onnx[:tensor,...]]
                                       [--json FILE]

Every build is a process of its own, from reading the cohort file to the bundle written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from side_by_side import child, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--views", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--only")
    parser.add_argument("--backbone")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    more = ["--only", given.only] if given.only else []
    more += ["--backbone", given.backbone] if given.backbone else []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        rows = [build(given.cohort, views, more, Path(folder)) for views in given.views]
    report(rows, given.json, cohort=given.cohort.name, only=given.only, backbone=given.backbone and "own")


def build(cohort: Path, views: int, more: list[str], folder: Path) -> dict[str, Any]:
    """One bundle built in a fresh process."""
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "build-reference", str(cohort), *more]
    measured = child([*command, "--views", str(views), "-o", str(folder / f"{views}.zarr")])
    told = json.loads(measured.out)
    return {
        "views": views,
        "sections": len(told["sections"]),
        "spots": told["spots"],
        "genes": told["genes"],
        "seconds": round(measured.wall_s, 1),
        "CPU seconds": round(measured.cpu_s, 1),
        "peak RSS MB": measured.rss_mb,
    }


if __name__ == "__main__":
    main()
