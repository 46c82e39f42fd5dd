"""A prediction as an AnnData Zarr v3 store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.rows import regrouped
from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.elements import X_ATTRS, elements, matrices, write_elements
from bleep_cli.types import Blocks, Prediction, Progress, no_progress

if TYPE_CHECKING:
    import zarr

CHUNK_ROWS = 1024
"""Rows of ``X`` in a chunk of the Zarr store; a chunk holds every gene."""


def write_zarr(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as an AnnData Zarr v3 folder, ``X`` in zstd chunks of ``CHUNK_ROWS`` × g.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import zarr
    from zarr.storage import LocalStore

    with atomic_path(path, force) as temp:
        group = zarr.open_group(LocalStore(temp), mode="w-", zarr_format=3)
        write_elements(group, elements(prediction))
        write_x(group, prediction, progress)


def write_x(group: zarr.Group, prediction: Prediction, progress: Progress) -> None:
    """Writes the expression as ``X`` of an AnnData's Zarr group, and the layers, block by block."""
    for place, values in matrices(prediction).items():
        _write_matrix(group, place, prediction, values, progress)


def _write_matrix(
    group: zarr.Group, place: str, prediction: Prediction, values: Callable[[], Blocks], progress: Progress
) -> None:
    from zarr.codecs import ZstdCodec

    rows, genes = len(prediction.grid), len(prediction.symbols)
    array = group.create_array(
        place,
        shape=(rows, genes),
        dtype="float32",
        chunks=(min(CHUNK_ROWS, rows), genes),
        compressors=[ZstdCodec(level=1, checksum=True)],
        attributes=X_ATTRS,
        config={"write_empty_chunks": True},  # so that one that is missing is known to be lost
    )
    done = 0  # whole chunks, so that none is written twice
    for (block,) in regrouped(((block,) for _, block in checked_blocks(prediction, values)), CHUNK_ROWS):
        array[done : done + len(block)] = block
        done += len(block)
        progress("write", done, rows)
