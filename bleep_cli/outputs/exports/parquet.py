"""A prediction as one Parquet file: for pandas, polars, R's arrow, DuckDB."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.exports.columns import record_batches
from bleep_cli.types import Prediction, Progress, no_progress


def write_parquet(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes a row per tile and a column per gene (:mod:`bleep_cli.outputs.exports.columns`), zstd, a row group
    per block; the provenance as JSON under ``bleep`` in the file's metadata.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import pyarrow.parquet as pq

    schema, batches = record_batches(prediction, progress)
    with atomic_path(path, force) as temp, pq.ParquetWriter(temp, schema, compression="zstd") as writer:
        for batch in batches:
            writer.write_batch(batch)
