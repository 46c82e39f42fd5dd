"""What ``bleep predict`` costs against tiles, slide size, spots, genes, views, slides and workers, as curves.

    python benchmarks/growth.py [--axes views workers ...] [--sides 20000 50000 100000] [--spots 1000 10000 100000]
        [--genes 300 3000 20000] [--slides 1 2 4 8] [--workers 1 2] [--repeats 1] [--figure FILE.png] [--json FILE]

Slides are sparse pyramids (JPEG tiles, 0.5 µm/px), once with the same four pieces of tissue at every size (what
the size alone costs) and once with tissue on ``--tissue`` of the area. References are made up around the demo's
embeddings, with its small tower. Slides go together in one command; workers are Dask's, one core each, on the most
slides that are asked for. Every prediction is a process of its own; medians; ratios to the first size of its row
and the slope: by how many seconds the last size of a row takes longer than the first, for one more of it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made_up import ISLAND_PX, write_reference, write_slide
from side_by_side import child, median, report

PIECES = 4
LIMIT_MB = 1500
TRIES, WAIT_S = 120, 0.5
COLUMNS = 4
AXES = {
    "slide side, same tissue": "px",
    "slide side, tissue grows": "px",
    "tiles": "tiles",
    "reference spots": "spots",
    "genes": "genes",
    "views": "views",
    "slides": "slides",
    "workers": "workers",
}
SHORT = {
    "side": "slide side, same tissue",
    "tissue": "slide side, tissue grows",
    "spots": "reference spots",
    "genes": "genes",
    "views": "views",
    "slides": "slides",
    "workers": "workers",
}


@dataclass(frozen=True)
class Case:
    """One point of a curve."""

    axis: str
    size: int
    slides: tuple[Path, ...]
    ref: Path
    options: tuple[str, ...] = ()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=SHORT, default=list(SHORT))
    parser.add_argument("--sides", type=int, nargs="*", default=[20_000, 50_000, 100_000])
    parser.add_argument("--tissue", type=float, default=0.05)
    parser.add_argument("--spots", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    parser.add_argument("--genes", type=int, nargs="*", default=[300, 3_000, 20_000])
    parser.add_argument("--slides", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        for case in cases(Path(folder), arguments):
            runs = [predict(case, Path(folder) / "out") for _ in range(arguments.repeats)]
            row = {
                "axis": case.axis,
                "size": case.size,
                "tiles": runs[0]["tiles"],
                "seconds": median([run["wall_s"] for run in runs], 2),
                "cpu_s": median([run["cpu_s"] for run in runs], 2),
                "peak_rss_mb": round(median([run["rss_mb"] for run in runs])),
            }
            rows.append(row)
            print(f"{case.axis} {case.size}: {row['peak_rss_mb']} MB, {row['seconds']} s", file=sys.stderr)
    rows += [{**row, "axis": "tiles", "size": row["tiles"]} for row in rows if row["axis"] == SHORT["tissue"]]
    for row in rows:
        compare(row, [other for other in rows if other["axis"] == row["axis"]])
    report(rows, arguments.json)
    if arguments.figure:
        draw(rows, arguments.figure)


def compare(row: dict[str, Any], axis: Sequence[Mapping[str, Any]]) -> None:
    """Adds the ratios to the first of its axis, and on the last of them the slope."""
    first = axis[0]
    row["rss_to_first"] = round(row["peak_rss_mb"] / first["peak_rss_mb"], 3)
    row["seconds_to_first"] = round(row["seconds"] / first["seconds"], 2)
    more = row["size"] - first["size"]
    row["slope_s"] = (
        float(f"{(row['seconds'] - first['seconds']) / more:.2g}") if row is axis[-1] and more else None
    )


def cases(folder: Path, arguments: argparse.Namespace) -> Iterator[Case]:
    """One after the other; each file is there while its case is yielded."""
    asked = [SHORT[name] for name in arguments.axes]
    usual = write_reference(folder / "usual.zarr", 2_000, 1_000)
    for axis in ("slide side, same tissue", "slide side, tissue grows"):
        for side in arguments.sides if axis in asked else ():
            grown = max(1, round(arguments.tissue * side**2 / ISLAND_PX**2))
            slide = folder / "slide.tif"
            write_slide(slide, side, islands=PIECES if "same" in axis else grown)
            yield Case(axis, side, (slide,), usual)
            slide.unlink()
    slide = write_slide(folder / "slide.tif", min(arguments.sides), islands=PIECES)
    for spots in arguments.spots if "reference spots" in asked else ():
        yield Case("reference spots", spots, (slide,), write_reference(folder / "ref.zarr", spots, 1_000))
    for genes in arguments.genes if "genes" in asked else ():
        yield Case("genes", genes, (slide,), write_reference(folder / "ref.zarr", 2_000, genes))
    for views in (1, 8) if "views" in asked else ():
        yield Case("views", views, (slide,), usual, ("--views", str(views)))
    if {"slides", "workers"} & set(asked):
        several = tuple(
            write_slide(folder / f"slide-{i}.tif", min(arguments.sides), islands=PIECES, seed=i)
            for i in range(max(arguments.slides))
        )
        for count in arguments.slides if "slides" in asked else ():
            yield Case("slides", count, several[:count], usual)
        for count in arguments.workers if "workers" in asked else ():
            with workers(folder, count) as address:
                yield Case("workers", count, several, usual, ("--scheduler", address))


@contextmanager
def workers(folder: Path, count: int) -> Iterator[str]:
    """The address of a scheduler with so many workers of one core each."""
    from distributed import Client

    told, command = folder / "scheduler.json", [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    told.unlink(missing_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:

        def start(*arguments: str) -> None:
            process = subprocess.Popen(arguments, **quiet)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        start(*command, "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(told))
        for _ in range(TRIES):
            if told.exists() and told.stat().st_size:
                break
            time.sleep(WAIT_S)
        address = json.loads(told.read_text(encoding="utf-8"))["address"]
        for core in range(count):
            worker = [
                sys.executable,
                "-m",
                "distributed.cli.dask_worker",
                address,
                "--nthreads",
                "1",
                "--no-dashboard",
            ]
            start("taskset", "-c", str(core), *worker, "--local-directory", str(folder))
        with Client(address) as client:
            client.wait_for_workers(count, timeout=TRIES * WAIT_S)
        yield address


def predict(case: Case, out: Path) -> dict[str, Any]:
    """One command in a process of its own; on workers its CPU time and memory are those of the one that waits."""
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", *map(str, case.slides)]
    command += ["--ref", str(case.ref), "-o", str(out), "--format", "h5ad", "--device", "cpu", "--force"]
    run = child([*command, *case.options])
    lines = [json.loads(line) for line in run.out.splitlines() if line.startswith("{")]
    tiles = sum(line.get("tiles", 0) for line in lines)
    return {"tiles": tiles, "wall_s": run.wall_s, "cpu_s": run.cpu_s, "rss_mb": run.rss_mb}


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Memory and, below it, time over each axis, small multiples; straight where a further one costs the same."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = [axis for axis in AXES if sum(row["axis"] == axis for row in rows) > 1]
    lines = -(-len(axes) // COLUMNS)
    figure, grid = plt.subplots(2 * lines, COLUMNS, figsize=(3 * COLUMNS, 4 * lines), squeeze=False)
    most = 1.1 * max([LIMIT_MB, *(row["peak_rss_mb"] for row in rows)])
    for place in range(lines * COLUMNS):
        memory, time_s = (grid[2 * (place // COLUMNS) + part][place % COLUMNS] for part in (0, 1))
        if place >= len(axes):
            memory.axis("off")
            time_s.axis("off")
            continue
        part = [row for row in rows if row["axis"] == axes[place]]
        for plot, name in ((memory, "peak_rss_mb"), (time_s, "seconds")):
            plot.plot([row["size"] for row in part], [row[name] for row in part], "o-", color="#2b6cb0")
            plot.set_xlim(0, 1.08 * part[-1]["size"])
            plot.set_ylim(0, most if name == "peak_rss_mb" else 1.1 * max(row[name] for row in part))
            plot.spines[["top", "right"]].set_visible(False)
            plot.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
            plot.locator_params(axis="x", nbins=4, integer=True)
        memory.axhline(LIMIT_MB, color="#999", linestyle=":", linewidth=1)
        memory.set_title(axes[place], fontsize=10)
        memory.set_ylabel("peak memory, MB")
        time_s.set_ylabel("time, s")
        time_s.set_xlabel(AXES[axes[place]])
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


if __name__ == "__main__":
    main()
