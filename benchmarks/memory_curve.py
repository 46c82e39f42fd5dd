"""Peak memory and time of ``bleep predict`` against slide size, reference size and gene count, with a picture.

    python benchmarks/memory_curve.py [--sides 20000 50000 100000] [--tissue 0.05] [--spots 1000 10000 100000]
        [--genes 300 3000 20000] [--repeats 3] [--figure docs/figures/memory.png] [--json FILE]

Slides are sparse pyramids (JPEG tiles, 0.5 µm/px), once with the same four pieces of tissue at every size (what
the size alone costs) and once with tissue on ``--tissue`` of the area. References are made up around the demo's
embeddings. Every prediction is a process of its own; medians; ratios to the first size of its row of sizes.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from made_up import ISLAND_PX, write_reference, write_slide
from side_by_side import child, median, report

PIECES = 4
LIMIT_MB = 1500
AXES = {
    "slide side, same tissue": "px",
    "slide side, tissue grows": "px",
    "reference spots": "spots",
    "genes": "genes",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="*", default=[20_000, 50_000, 100_000])
    parser.add_argument("--tissue", type=float, default=0.05)
    parser.add_argument("--spots", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--genes", type=int, nargs="*", default=[300, 3_000, 20_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        for axis, size, slide, ref in cases(Path(folder), arguments):
            runs = [predict(slide, ref, Path(folder) / "out") for _ in range(arguments.repeats)]
            first = next((row for row in rows if row["axis"] == axis), None)
            row = {
                "axis": axis,
                "size": size,
                "tiles": runs[0]["tiles"],
                "seconds": median([run["wall_s"] for run in runs], 2),
                "cpu_s": median([run["cpu_s"] for run in runs], 2),
                "peak_rss_mb": round(median([run["rss_mb"] for run in runs])),
            }
            row["rss_to_first"] = round(row["peak_rss_mb"] / (first or row)["peak_rss_mb"], 3)
            row["seconds_to_first"] = round(row["seconds"] / (first or row)["seconds"], 2)
            rows.append(row)
            print(f"{axis} {size}: {row['peak_rss_mb']} MB, {row['seconds']} s", file=sys.stderr, flush=True)
    report(rows, arguments.json)
    if arguments.figure:
        draw(rows, arguments.figure)


def cases(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[str, int, Path, Path]]:
    """(axis, size, slide, reference) one after the other; each file is there while its case is yielded."""
    usual = write_reference(folder / "usual.zarr", 2_000, 1_000)
    for axis in ("slide side, same tissue", "slide side, tissue grows"):
        for side in arguments.sides:
            grown = max(1, round(arguments.tissue * side**2 / ISLAND_PX**2))
            slide = folder / "slide.tif"
            yield axis, side, write_slide(slide, side, islands=PIECES if "same" in axis else grown), usual
            slide.unlink()
    slide = write_slide(folder / "slide.tif", min(arguments.sides), islands=PIECES)
    for spots in arguments.spots:
        yield "reference spots", spots, slide, write_reference(folder / "ref.zarr", spots, 1_000)
    for genes in arguments.genes:
        yield "genes", genes, slide, write_reference(folder / "ref.zarr", 2_000, genes)


def predict(slide: Path, ref: Path, out: Path) -> dict[str, Any]:
    """One prediction in a process of its own."""
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", str(slide), "--ref", str(ref)]
    run = child([*command, "-o", str(out), "--format", "h5ad", "--device", "cpu", "--force"])
    record = json.loads(run.out)
    return {"tiles": record["tiles"], "wall_s": run.wall_s, "cpu_s": run.cpu_s, "rss_mb": run.rss_mb}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Memory and time over each axis, small multiples."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = [axis for axis in AXES if sum(row["axis"] == axis for row in rows) > 1]
    figure, grid = plt.subplots(2, len(axes), figsize=(3.2 * len(axes), 5), sharex="col", squeeze=False)
    most = [LIMIT_MB, *(row["peak_rss_mb"] for row in rows)]
    for column, axis in enumerate(axes):
        part = [row for row in rows if row["axis"] == axis]
        sizes = [row["size"] for row in part]
        for line, (name, unit) in enumerate((("peak_rss_mb", "peak memory, MB"), ("seconds", "time, s"))):
            plot = grid[line][column]
            plot.plot(sizes, [row[name] for row in part], "o-", color="#2b6cb0")
            plot.set_xscale("log")
            plot.set_ylim(
                0, 1.1 * (max([LIMIT_MB, *most]) if name == "peak_rss_mb" else max(row[name] for row in part))
            )
            plot.spines[["top", "right"]].set_visible(False)
            if column == 0 or name == "seconds":
                plot.set_ylabel(unit)
        grid[0][column].axhline(LIMIT_MB, color="#999", linestyle=":", linewidth=1)
        grid[0][column].set_title(axis, fontsize=10)
        grid[1][column].set_xlabel(AXES[axis])
        grid[1][column].set_xticks(sizes, [f"{size:,}" for size in sizes])
        grid[1][column].minorticks_off()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
