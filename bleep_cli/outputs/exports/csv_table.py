"""A prediction as one CSV file, for spreadsheets and whatever reads nothing else."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.exports.columns import record_batches
from bleep_cli.types import Prediction, Progress, no_progress


def write_csv(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes a row per tile and a column per gene (:mod:`bleep_cli.outputs.exports.columns`), UTF-8, with commas.

    Its values are those of the other formats to the last bit: the shortest digits that read back the same.
    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    from pyarrow import csv

    schema, batches = record_batches(prediction, progress)
    with atomic_path(path, force) as temp, csv.CSVWriter(temp, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
