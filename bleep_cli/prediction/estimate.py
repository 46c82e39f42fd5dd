"""What a prediction will take: tiles, seconds and memory, from a short run of the real tower."""

from __future__ import annotations

from dataclasses import dataclass

from bleep_cli.bundle.index.choose import memory_of_index
from bleep_cli.choices import RunsOn
from bleep_cli.prediction.expression.impute import memory_of_expression
from bleep_cli.prediction.plan import Plan
from bleep_cli.prediction.predictor import Predictor

BASE_BYTES = 600 << 20  # interpreter, libraries and the tower's own buffers, as measured (docs/results.md)
SLIDE_BYTES = 300 << 20  # decoded tiles kept by the reader


@dataclass(frozen=True)
class Estimate:
    """What predicting one slide will take."""

    tiles: int
    genes: int
    views: int
    """Flips and rotations of each tile that are averaged."""
    fields: int
    """Fields of view of each tile."""
    device: RunsOn
    seconds: float
    """For the image tower alone, which is nearly all of it on a CPU."""
    memory_mb: int
    """Peak resident memory in MiB."""
    output_bytes: int
    """Of ``X`` and the layers."""


def estimate(predictor: Predictor, ready: Plan) -> Estimate:
    """Times the tower on a few noise tiles and scales it to the slide."""
    info, encoder, embedder = predictor.bundle.info, predictor.encoder, predictor.embedder
    per_tile = embedder.seconds_per_tile(predictor.views)
    n, genes = len(ready.grid), predictor.n_genes
    per_row = predictor.k * 20
    in_flight = embedder.lanes.ahead * encoder.batch * info.tile.px**2 * 3 * len(info.tile.um)
    bundle = predictor.bundle
    reference = memory_of_expression(bundle.n_spots, genes, n)
    reference += memory_of_index(bundle.root, bundle.embedding_rows(predictor.key))
    reference += predictor.correction_bytes(n)
    memory = BASE_BYTES + SLIDE_BYTES + n * per_row + reference + in_flight
    return Estimate(
        tiles=n,
        genes=genes,
        views=predictor.views,
        fields=len(info.tile.um),
        device=encoder.device,
        seconds=round(per_tile * n, 1),
        memory_mb=memory >> 20,
        output_bytes=n * genes * 4 * (1 + predictor.layers),
    )
