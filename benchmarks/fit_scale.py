"""What fitting towers in closed form takes of time and memory, by spots and features, and what blocks change.

    python benchmarks/fit_scale.py [--sizes 10000x1000 30000x3000 100000x5000] [--whole 10000x1000] [--json FILE]

Made-up features f32 in a file, as those of a build are, and 1,000 genes with which they share 30 hidden numbers;
towers of 40 components at one penalty. Each size is a process of its own: both sides decomposed, heads fitted,
every spot embedded. ``--whole`` sizes are fitted a second time as a whole, in float64, and the heads' outputs
compared. Held MB is what NumPy held at most; the peak of the process also counts pages of the mapped file, which
the system can take back.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import child, report

from bleep_cli.fitting import cca
from bleep_cli.fitting.cca import LinearHead, decompose, fit_heads
from bleep_cli.types import F32

GENES, HIDDEN, COMPONENTS, PENALTY = 1000, 30, 40, 3.0
BLOCK = 2000  # rows made at a time
MB = 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["10000x1000", "30000x3000", "100000x5000"])
    parser.add_argument("--whole", nargs="*", default=["10000x1000"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a size, in a process of its own
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(fitted(*size_of(arguments.one), compared=arguments.one in arguments.whole)))
        return
    rows = []
    for size in arguments.sizes:
        compared = ["--whole", *([size] if size in arguments.whole else [])]
        found = child([sys.executable, str(Path(__file__).resolve()), "--one", size, *compared])
        rows.append({**json.loads(found.out), "peak RSS MB": found.rss_mb})
    report(rows, arguments.json, genes=GENES, components=COMPONENTS)


def size_of(text: str) -> tuple[int, int]:
    """(spots, features) of ``100000x5000``."""
    spots, _, features = text.partition("x")
    return int(spots), int(features)


def made_up(spots: int, features: int, folder: Path) -> tuple[F32, F32]:
    """Features f32[n, d], mapped, and expression f32[n, p]."""
    rng = np.random.default_rng(0)
    to_x, to_y = rng.normal(size=(HIDDEN, features)), rng.normal(size=(HIDDEN, GENES))
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (spots, features))
    y = np.empty((spots, GENES), np.float32)
    for start in range(0, spots, BLOCK):
        rows = slice(start, min(start + BLOCK, spots))
        count = rows.stop - rows.start
        hidden = rng.normal(size=(count, HIDDEN))
        x[rows] = hidden @ to_x + rng.normal(size=(count, features)) * 3
        y[rows] = hidden @ to_y + rng.normal(size=(count, GENES)) * 3
    x.flush()
    return np.load(folder / "x.npy", mmap_mode="r"), y


def fitted(spots: int, features: int, *, compared: bool) -> dict[str, Any]:
    """One size: its time, its memory, and how far the same as a whole is from it."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        x, y = made_up(spots, features, Path(folder))
        cca.HELD_VALUES = 0 if compared else cca.HELD_VALUES  # small ones would go as a whole
        tracemalloc.start()
        wall, cpu = time.perf_counter(), time.process_time()
        heads = fit(x, y)
        embedded = [head.of_many(side) for head, side in zip(heads, (x, y), strict=True)]
        spent = time.perf_counter() - wall, time.process_time() - cpu
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        difference = None
        if compared:
            cca.HELD_VALUES = spots * max(features, GENES)
            other = [head.of_many(side) for head, side in zip(fit(x, y), (x, y), strict=True)]
            difference = max(
                float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(embedded, other, strict=True)
            )
        del x
    row = {"spots": spots, "features": features, "seconds": round(spent[0], 1), "CPU s": round(spent[1], 1)}
    as_a_whole = None if difference is None else f"{difference:.0e}"
    return {**row, "held MB": round(held / MB), "from as a whole": as_a_whole}


def fit(x: F32, y: F32) -> tuple[LinearHead, LinearHead]:
    """The heads, as ``fit_towers`` fits them once it has chosen."""
    return fit_heads(decompose(x), decompose(y, COMPONENTS), PENALTY)


if __name__ == "__main__":
    main()
