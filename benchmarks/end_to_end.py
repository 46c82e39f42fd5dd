"""Which part of the image tower's own rate is left end to end: reading, embedding, search, averaging and writing.

    python benchmarks/end_to_end.py --ref BUNDLE [--slide SLIDE | --side 20000 --islands 4 --steps 1 4 16]
        [--precision fp32] [--views 1] [--repeats 5] [--than CHECKOUT] [--json FILE]

In one process, in turn: the tower alone on tiles in memory, reading alone, reading with embedding and search (the
pipeline), and a whole prediction written as h5ad. Rates in tiles/s, medians, and their ratios to the tower alone.

Beside them the CPU time of a tile in all threads. With ``--than`` every round is run twice, with the package of
another checkout and with this one's, a process each, in turn, the median of three in each: what other programs
take of the machine, they take of both.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from made_up import STEPS, write_slide
from side_by_side import child, median, report

from bleep_cli.bundle.open import open_bundle
from bleep_cli.outputs.formats import FORMATS
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan, plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.read import reading_order
from bleep_cli.tiles.shared_fields import FieldReader

TOWER_BATCHES = 8  # in every embedding thread
WITHIN = 3  # rounds of a process that is run beside another


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--islands", type=int, default=4)
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="how much coarser each level is")
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "int8"])
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--than", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.than is not None:
        beside(arguments)
        return
    bundle = open_bundle(arguments.ref)
    options = PredictOptions(mpp=arguments.mpp, device="cpu", views=arguments.views, precision=arguments.precision)
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        slide = arguments.slide or made_slide(arguments, folder)
        predictor = Predictor(bundle, options)
        works = {
            "tower alone": lambda: tower_alone(predictor),
            "reading alone": lambda: timed(slide, predictor, read_all),
            "reading + tower + search": lambda: timed(slide, predictor, search_all),
            "slide to h5ad": lambda: timed(slide, predictor, lambda p, ready: write_all(p, ready, folder)),
        }
        taken: dict[str, list[Taken]] = {name: [] for name in works}
        for _ in range(arguments.repeats):
            for what, work in works.items():
                taken[what].append(work())
    alone = taken["tower alone"]
    rows = [
        {
            "what": what,
            "tiles_per_s": median([one.rate for one in found], 1),
            "to_tower": median([one.rate / tower.rate for one, tower in zip(found, alone, strict=True)], 3),
            "cpu_ms": median([one.cpu_ms for one in found], 2),
        }
        for what, found in taken.items()
    ]
    report(
        rows, arguments.json, ref=arguments.ref.name, precision=predictor.embedder.precision, views=predictor.views
    )


def made_slide(arguments: argparse.Namespace, folder: Path) -> Path:
    """A pyramid as it is asked for."""
    steps = tuple(arguments.steps)
    return write_slide(folder / "slide.tif", arguments.side, islands=arguments.islands, steps=steps)


def compared(what: str, rounds: list[tuple[dict[str, float], dict[str, float]]]) -> dict[str, object]:
    """Medians before and now, and of the ratios of each round."""
    row: dict[str, object] = {"what": what}
    for name, ratio in (("tiles_per_s", "times as fast"), ("cpu_ms", "of the CPU time")):
        for i, when in enumerate(("before", "now")):
            row[f"{name} {when}"] = median([both[i][name] for both in rounds], 2)
        row[ratio] = median([now[name] / old[name] for old, now in rounds], 2)
    return row


class Taken(NamedTuple):
    """What a piece of work took."""

    rate: float
    """Tiles per second."""
    cpu_ms: float
    """CPU time of a tile, of all threads."""


def beside(arguments: argparse.Namespace) -> None:
    """The rates and CPU times of another checkout and of this one, and the medians of their ratios."""
    rounds: list[list[dict[str, dict[str, float]]]] = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        slide = arguments.slide or made_slide(arguments, folder)
        options = ["--ref", arguments.ref, "--slide", slide, "--precision", arguments.precision]
        options += ["--views", arguments.views, "--repeats", WITHIN, "--json", folder / "rates.json"]
        options += [] if arguments.mpp is None else ["--mpp", arguments.mpp]
        for _ in range(arguments.repeats):
            both = []
            for root in (arguments.than.resolve(), Path(__file__).resolve().parents[1]):
                child([sys.executable, __file__, *map(str, options)], {"PYTHONPATH": str(root)})
                rows = json.loads((folder / "rates.json").read_text(encoding="utf-8"))["rows"]
                both.append({row["what"]: row for row in rows})
            rounds.append(both)
    table = [compared(what, [(old[what], now[what]) for old, now in rounds]) for what in rounds[0][0]]
    report(table, arguments.json, ref=arguments.ref.name, precision=arguments.precision)


def tower_alone(predictor: Predictor) -> Taken:
    """Tiles in memory."""
    embedder, start = predictor.embedder, time.process_time()
    seconds = embedder.seconds_per_tile(predictor.views, TOWER_BATCHES)
    tiles = (1 + TOWER_BATCHES) * embedder.lanes.embedders * embedder.encoder.batch
    return Taken(1 / seconds, 1000 * (time.process_time() - start) / tiles)


def timed(slide: Path, predictor: Predictor, work: Callable[[Predictor, Plan], object]) -> Taken:
    """From opening the slide, nothing of it decoded yet."""
    start, cpu = time.perf_counter(), time.process_time()
    ready = plan(slide, predictor.bundle.info, predictor.options)
    with closing(ready.slide):
        work(predictor, ready)
    n = len(ready.grid)
    return Taken(n / (time.perf_counter() - start), 1000 * (time.process_time() - cpu) / n)


def read_all(predictor: Predictor, ready: Plan) -> None:
    """Every tile by as many threads as there are cores for embedding."""
    reader, spec, batch = FieldReader(ready.slide, ready.grid), ready.grid.spec, predictor.encoder.batch
    order = reading_order(ready.grid)

    def read(start: int) -> None:
        rows = order[start : start + batch]
        reader.read(rows, np.empty((len(rows), spec.px, spec.px, 3 * len(spec.um)), np.uint8))

    with ThreadPoolExecutor(predictor.embedder.lanes.embedders) as pool:
        list(pool.map(read, range(0, len(order), batch)))


def search_all(predictor: Predictor, ready: Plan) -> None:
    predictor.neighbours(ready.slide, ready.grid)


def write_all(predictor: Predictor, ready: Plan, folder: Path) -> None:
    FORMATS["h5ad"].write(predictor.predict_plan(ready), folder / "out.h5ad", force=True)


if __name__ == "__main__":
    main()
