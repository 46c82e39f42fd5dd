"""Peak memory, time and size of ``bleep convert`` for each format, each in a process of its own.

    python benchmarks/convert_memory.py [--tiles 20000] [--genes 15000] [--formats csv,ometiff,...] [--json FILE]

The result is made up: tiles side by side, values that differ in every cell, genes with Ensembl ids.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import child

from bleep_cli.batch.kinds import PICTURE, WRITERS
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.types import F32, Neighbours, Prediction, TileGrid, TileSpec

TILES, GENES, K, ROWS_AT_ONCE = 20_000, 15_000, 50, 256
MOST_MB = 1500
"""What no format may take, at the sizes above."""


def made_up(tiles: int, genes: int, seed: int = 0) -> Prediction:
    """A prediction over a rectangle of tiles of 55 µm, at 0.5 µm per pixel."""
    width = int(np.ceil(np.sqrt(tiles)))
    row, column = np.divmod(np.arange(tiles), width)
    rng = np.random.default_rng(seed)

    def blocks() -> Iterator[tuple[int, F32]]:
        values = np.random.default_rng(seed)
        for first in range(0, tiles, ROWS_AT_ONCE):
            shape = (min(ROWS_AT_ONCE, tiles - first), genes)
            yield first, np.log1p(3 * values.random(shape, np.float32))

    similarity = rng.random((tiles, K), np.float32)
    return Prediction(
        slide_id="made-up",
        grid=TileGrid(
            centre_l0=(np.stack([column, row], axis=1) + 0.5) * 110,
            array_row=row,
            array_col=column,
            tile_id=np.array([f"made-up_{r}x{c}" for r, c in zip(row, column, strict=True)]),
            region=np.full(tiles, "1"),
            spec=TileSpec(224, (55.0,)),
            mpp=0.5,
            pitch_um=55.0,
        ),
        in_tissue=np.ones(tiles, bool),
        symbols=np.array([f"GENE{i}" for i in range(genes)]),
        gene_ids=np.array([f"ENSG{i:011d}" for i in range(genes)]),
        neighbours=Neighbours(rng.integers(0, 100_000, (tiles, K)), similarity),
        obs={"similarity": similarity.mean(axis=1)},
        blocks=blocks,
        hires=rng.integers(0, 256, (2000, 2000, 3), np.uint8),
        hires_scalef=2000 / (110 * width),
        provenance={"slide": {"name": "made-up.svs", "sha256": "0" * 64, "mpp": 0.5}, "options": {}},
    )


def measured(result: Path, kind: str, folder: Path) -> dict[str, Any]:
    """One conversion in a fresh process; what it wrote is deleted afterwards."""
    with tempfile.TemporaryDirectory(dir=folder) as out:
        command = [sys.executable, "-m", "bleep_cli.cli", "--json", "convert", str(result), "--format", kind]
        run = child([*command, "-o", out])
        files = [path for path in Path(out).rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 1e6
    return {"format": kind, "rss_mb": run.rss_mb, "seconds": round(run.wall_s, 1), "size_mb": round(size, 1)}


def main() -> None:
    """The command line; the file's first lines describe it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=TILES)
    parser.add_argument("--genes", type=int, default=GENES)
    parser.add_argument("--formats", default=",".join([*WRITERS, PICTURE]))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        result = Path(folder) / "made-up.h5ad"
        write_h5ad(made_up(arguments.tiles, arguments.genes), result)
        print("| format | peak RSS MB | seconds | file MB |\n|---|---|---|---|", flush=True)
        for kind in arguments.formats.split(","):
            rows.append(measured(result, kind, Path(folder)))
            print("| {format} | {rss_mb} | {seconds} | {size_mb} |".format(**rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    over = [row["format"] for row in rows if row["rss_mb"] > MOST_MB]
    if over:
        sys.exit(f"over {MOST_MB} MB: {', '.join(over)}")


if __name__ == "__main__":
    main()
