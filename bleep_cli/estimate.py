"""What a prediction will take: tiles, seconds and memory, from a short run of the real tower."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bleep_cli.encoder import BATCH, embed_views
from bleep_cli.impute import DENSE_BYTES
from bleep_cli.predict import BATCH_TILES, Plan, Predictor

BASE_BYTES = 600 << 20  # interpreter, libraries and the tower's own buffers, as measured (docs/results.md)
SLIDE_BYTES = 300 << 20  # decoded tiles kept by the reader
SEED = 0


@dataclass(frozen=True)
class Estimate:
    """``seconds`` for the tower alone, which is nearly all of it on a CPU; ``memory_mb`` peak resident."""

    slide: str
    tiles: int
    genes: int
    views: int
    fields: int
    device: str
    seconds: float
    memory_mb: int
    output_mb: int

    def line(self) -> str:
        """One line for a person."""
        passes = f"{self.views} views × {self.fields} fields"
        return (
            f"{self.slide}: {self.tiles} tiles × {self.genes} genes ({passes}, {self.device}), about "
            f"{_duration(self.seconds)}, {self.memory_mb} MB of memory, {self.output_mb} MB of X"
        )


def estimate(predictor: Predictor, ready: Plan) -> Estimate:
    """Times one batch of noise tiles, after one to warm up, and scales it to the slide."""
    info, encoder = predictor.bundle.info, predictor.encoder
    count = BATCH[encoder.device]
    rng = np.random.default_rng(SEED)
    shape = (count, info.tile.px, info.tile.px, 3 * len(info.tile.um))
    tiles = rng.integers(0, 256, shape, dtype=np.uint8)
    embed_views(encoder, tiles, 1)
    start = time.perf_counter()
    embed_views(encoder, tiles, predictor.views)
    per_tile = (time.perf_counter() - start) / count
    n, genes = len(ready.grid), predictor.n_genes
    per_row = encoder.dim * 4 + predictor.k * 16
    reference = min(predictor.bundle.n_spots * genes * 4, DENSE_BYTES)
    memory = BASE_BYTES + SLIDE_BYTES + n * per_row + reference + 2 * BATCH_TILES * int(np.prod(shape[1:]))
    return Estimate(
        slide=ready.slide.name,
        tiles=n,
        genes=genes,
        views=predictor.views,
        fields=len(info.tile.um),
        device=encoder.device,
        seconds=round(per_tile * n, 1),
        memory_mb=memory >> 20,
        output_mb=n * genes * 4 >> 20,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
