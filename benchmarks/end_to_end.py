"""Which part of the image tower's own rate is left end to end: reading, embedding, search, averaging and writing.

    python benchmarks/end_to_end.py --ref BUNDLE [--slide SLIDE | --side 20000 --islands 4] [--precision fp32]
        [--views 1] [--repeats 5] [--json FILE]

In one process, in turn: the tower alone on tiles in memory, reading alone, reading with embedding and search (the
pipeline), and a whole prediction written as h5ad. Rates in tiles/s, medians, and their ratios to the tower alone.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from made_up import write_slide
from side_by_side import median, report

from bleep_cli.bundle.open import open_bundle
from bleep_cli.outputs.formats import FORMATS
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan, plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.read import reading_order
from bleep_cli.tiles.shared_fields import FieldReader

TOWER_BATCHES = 8  # in every embedding thread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path, required=True)
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float)
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--islands", type=int, default=4)
    parser.add_argument("--precision", default="auto", choices=["auto", "fp32", "int8"])
    parser.add_argument("--views", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.ref)
    options = PredictOptions(mpp=arguments.mpp, device="cpu", views=arguments.views, precision=arguments.precision)
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        slide = arguments.slide or write_slide(folder / "slide.tif", arguments.side, islands=arguments.islands)
        predictor = Predictor(bundle, options)
        works = {
            "tower alone": lambda: 1 / predictor.embedder.seconds_per_tile(predictor.views, TOWER_BATCHES),
            "reading alone": lambda: timed(slide, predictor, read_all),
            "reading + tower + search": lambda: timed(slide, predictor, search_all),
            "slide to h5ad": lambda: timed(slide, predictor, lambda p, ready: write_all(p, ready, folder)),
        }
        rates: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(arguments.repeats):
            for what, work in works.items():
                rates[what].append(work())
    alone = rates["tower alone"]
    rows = [
        {
            "what": what,
            "tiles_per_s": median(found, 1),
            "to_tower": median([rate / tower for rate, tower in zip(found, alone, strict=True)], 3),
        }
        for what, found in rates.items()
    ]
    report(
        rows, arguments.json, ref=arguments.ref.name, precision=predictor.embedder.precision, views=predictor.views
    )


def timed(slide: Path, predictor: Predictor, work: Callable[[Predictor, Plan], object]) -> float:
    """Tiles per second from opening the slide, nothing of it decoded yet."""
    start = time.perf_counter()
    ready = plan(slide, predictor.bundle.info, predictor.options)
    with closing(ready.slide):
        work(predictor, ready)
    return len(ready.grid) / (time.perf_counter() - start)


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
