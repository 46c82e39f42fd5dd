"""A prediction as a table: a row per tile, its place and what is known of it, then a column per gene."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.types import Prediction, Progress

if TYPE_CHECKING:
    import pyarrow as pa

METADATA = b"bleep"  # key of the provenance, as JSON, in the schema


def place_columns(prediction: Prediction) -> dict[str, Any]:
    """The columns before the genes, by name, n values each: names, places (level-0 px and µm of the tile's
    centre), the further columns of ``Prediction.obs``."""
    grid = prediction.grid
    x, y = grid.centre_l0.T
    return {
        "tile_id": grid.tile_id.astype(object),
        "slide": np.full(len(grid), prediction.slide_id, object),
        "tissue_piece": grid.region.astype(object),
        "in_tissue": prediction.in_tissue,
        "array_row": grid.array_row,
        "array_col": grid.array_col,
        "x_px": x,
        "y_px": y,
        "x_um": x * grid.mpp,
        "y_um": y * grid.mpp,
        **prediction.obs,
    }


def gene_column_names(prediction: Prediction) -> list[str]:
    """The genes' symbols; one that is named like a column before them carries its id."""
    taken = set(place_columns(prediction))
    pairs = zip(map(str, prediction.symbols), map(str, prediction.gene_ids), strict=True)
    return [f"{symbol} ({gene_id})" if symbol in taken else symbol for symbol, gene_id in pairs]


def record_batches(prediction: Prediction, progress: Progress) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The table's schema, with the provenance in its metadata, and its rows block by block."""
    import pyarrow as pa

    places = {name: pa.array(values) for name, values in place_columns(prediction).items()}
    fields = [pa.field(name, values.type) for name, values in places.items()]
    fields += [pa.field(name, pa.float32()) for name in gene_column_names(prediction)]
    schema = pa.schema(fields, metadata={METADATA: json.dumps(prediction.provenance).encode()})

    def batches() -> Iterator[pa.RecordBatch]:
        for first, block in checked_blocks(prediction):
            columns = [values.slice(first, len(block)) for values in places.values()]
            columns += [pa.array(column) for column in np.ascontiguousarray(block.T)]
            yield pa.record_batch(columns, schema=schema)
            progress("write", first + len(block), len(prediction.grid))

    return schema, batches()
