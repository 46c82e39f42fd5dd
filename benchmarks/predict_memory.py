"""Peak memory and rate of whole ``bleep predict`` runs, each in a process of its own.

    python benchmarks/predict_memory.py --ref artifacts/demo-liver-phantom.zarr.zip SLIDE[@mpp]... [--json FILE]

Beside the given slides it makes a 20,000 × 20,000 px pyramidal TIFF (JPEG tiles) of the demo slide, repeated, and
prints the ratio of the peak memory of every slide to that one's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from made_up import write_slide
from side_by_side import child

SIDE = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slides", nargs="*", help="slides, with @mpp where they state none")
    parser.add_argument("--ref", required=True)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        big = Path(folder) / f"pyramid-{arguments.side}.tif"
        write_slide(big, arguments.side)
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


def run(slide: str, ref: str, folder: Path) -> dict[str, Any]:
    """One prediction in a fresh process: tiles, wall seconds, and the peak memory the system reports."""
    path, _, mpp = slide.partition("@")
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", path, "--ref", ref]
    command += ["-o", str(folder / "out"), "--force", *(["--mpp", mpp] if mpp else [])]
    measured = child(command)
    record = json.loads(measured.out)
    return {
        "slide": record["slide"],
        "tiles": record["tiles"],
        "seconds": measured.wall_s,
        "rss_mb": measured.rss_mb,
    }


if __name__ == "__main__":
    main()
