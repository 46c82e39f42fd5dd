"""Peak memory and rate of whole ``bleep predict`` runs, each in a process of its own.

    python benchmarks/predict_memory.py --ref artifacts/demo-liver-phantom.zarr.zip SLIDE[@mpp]... [--json FILE]

Beside the given slides it makes a 20,000 × 20,000 px pyramidal TIFF (JPEG tiles) of the demo slide, repeated, and
prints the ratio of the peak memory of every slide to that one's.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from bleep_cli.assets import DEMO_SLIDE, asset
from bleep_cli.types import U8

SIDE, TILE, MPP = 20_000, 256, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", help="slides, with @mpp where they state none")
    parser.add_argument("--ref", required=True)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        big = Path(folder) / f"pyramid-{arguments.side}.tif"
        make_pyramid(big, arguments.side)
        rows = [run(slide, arguments.ref, Path(folder)) for slide in [*arguments.slides, str(big)]]
    print("| slide | tiles | seconds | tiles/s | peak RSS MB | RSS / that of the pyramid |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        ratio = row["rss_mb"] / rows[-1]["rss_mb"]
        print(
            f"| {row['slide']} | {row['tiles']} | {row['seconds']:.1f} | {row['tiles'] / row['seconds']:.0f} "
            f"| {row['rss_mb']} | {ratio:.2f} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def make_pyramid(path: Path, side: int) -> None:
    """The demo slide repeated to side², 256 px JPEG tiles, levels 1, 4 and 16."""
    with tifffile.TiffFile(asset(DEMO_SLIDE)) as source:
        levels = [page.asarray() for page in source.pages][:3]
    shrink = [round(levels[0].shape[1] / level.shape[1]) for level in levels]
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, factor in zip(levels, shrink, strict=True):
            writer.write(
                _tiles(level, side // factor),
                shape=(side // factor, side // factor, 3),
                dtype=np.uint8,
                tile=(TILE, TILE),
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 80},
                subfiletype=int(factor > 1),
                resolution=(1e4 / (MPP * factor), 1e4 / (MPP * factor)),
                resolutionunit="CENTIMETER",
            )


def _tiles(level: U8, side: int) -> Iterator[U8]:
    for y in range(0, side, TILE):
        for x in range(0, side, TILE):
            rows = np.arange(y, y + TILE) % level.shape[0]
            columns = np.arange(x, x + TILE) % level.shape[1]
            yield level[rows[:, None], columns[None]]


def run(slide: str, ref: str, folder: Path) -> dict[str, Any]:
    """One prediction in a fresh process: tiles, wall seconds, and the peak memory the system reports."""
    path, _, mpp = slide.partition("@")
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", path, "--ref", ref]
    command += ["-o", str(folder / "out"), "--force", *(["--mpp", mpp] if mpp else [])]
    start = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(command, stdout=out)
        _, status, usage = os.wait4(child.pid, 0)
        out.seek(0)
        text = out.read()
    if status:
        raise SystemExit(f"{Path(path).name}: exit status {os.waitstatus_to_exitcode(status)}")
    record = json.loads(text)["slides"][0]
    return {
        "slide": record["slide"],
        "tiles": record["tiles"],
        "seconds": time.perf_counter() - start,
        "rss_mb": usage.ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
