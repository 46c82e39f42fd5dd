"""What it costs a trained tower to tell what tiles look like, on one core (docs/reliability.md).

    python benchmarks/looks_cost.py [--backbones efficientnet-lite0 resnet50] [--fields 2] [--json FILE]

Towers of random weights, since weights cost no time: milliseconds of the processor for a tile of 224 px in float32
and in int8, without looks and with them, the least of several turns about.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from side_by_side import report

from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.given_looks import FEATURES, tower_with_looks
from bleep_cli.fitting.looks import COMPONENTS, LooksHead
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.config.schema import ModelConfig
from bleep_train.export.graph import to_onnx
from bleep_train.export.precisions import int8_tower
from bleep_train.export.towers import ImageGraph
from bleep_train.model.towers import build_towers

PX, TILES, TURNS = 224, 8, 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet-lite0", "resnet50"])
    parser.add_argument("--fields", type=int, nargs="+", default=[2])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = [row for name in given.backbones for count in given.fields for row in cost(name, count)]
    report(rows, given.json, tiles=TILES, turns=TURNS)


def cost(backbone: str, fields: int) -> Iterator[dict[str, Any]]:
    """A row for each precision."""
    towers = build_towers(ModelConfig(backbone=backbone, weights="random"), fields, 100, pretrained=False)
    example = torch.zeros(2, PX, PX, 3 * fields, dtype=torch.uint8)
    full = to_onnx(ImageGraph(towers.image), example, "tiles")
    tiles = np.random.default_rng(0).integers(0, 256, (TILES, PX, PX, 3 * fields), np.uint8)
    for precision, plain in (("float32", full), ("int8", int8_tower(full, tiles))):
        pair = [OnnxEncoder(model, "cpu", threads=1) for model in (plain, tower_with_looks(plain, PX, head()))]
        turns = [[seconds(encoder, tiles) for encoder in pair] for _ in range(TURNS)]
        without, beside = (1000 * float(t) / TILES for t in np.min(turns, axis=0))
        told = {"without looks (ms)": round(without, 1), "with looks (ms)": round(beside, 1)}
        share = {"more": f"{beside / without - 1:.0%}"}
        yield {"backbone": backbone, "fields": fields, "precision": precision} | told | share


def head() -> LooksHead:
    """As wide as that of a reference of many spots."""
    shapes = ((FEATURES, COMPONENTS), (STAIN, STAIN))
    return LooksHead(*(LinearHead(np.zeros(a, np.float32), np.ones((a, b), np.float32)) for a, b in shapes))


def seconds(encoder: OnnxEncoder, tiles: np.ndarray) -> float:
    begun = time.process_time()
    encoder.see(tiles)
    return time.process_time() - begun


if __name__ == "__main__":
    main()
