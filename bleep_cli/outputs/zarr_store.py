"""A prediction as an AnnData Zarr v3 store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bleep_cli.base.atomic import atomic_path
from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.elements import X_ATTRS, write_all_but_x
from bleep_cli.types import F32, Prediction, Progress, no_progress

CHUNK_ROWS = 1024
"""Rows of ``X`` in a chunk of the Zarr store; a chunk holds every gene."""


def write_zarr(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as an AnnData Zarr v3 folder, ``X`` in zstd chunks of ``CHUNK_ROWS`` × g.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.storage import LocalStore

    rows, genes = len(prediction.grid), len(prediction.symbols)
    with atomic_path(path, force) as temp:
        group = zarr.open_group(LocalStore(temp), mode="w-", zarr_format=3)
        write_all_but_x(group, prediction)
        array = group.create_array(
            "X",
            shape=(rows, genes),
            dtype="float32",
            chunks=(min(CHUNK_ROWS, rows), genes),
            compressors=[ZstdCodec(level=1, checksum=True)],
            attributes=X_ATTRS,
        )
        for first, block in _aligned(checked_blocks(prediction), CHUNK_ROWS, genes):
            array[first : first + len(block)] = block
            progress("write", first + len(block), rows)


def _aligned(blocks: Iterator[tuple[int, F32]], rows: int, genes: int) -> Iterator[tuple[int, F32]]:
    """The same rows in blocks of exactly ``rows`` (the last may be shorter), so no chunk is written twice.

    Every block is the same buffer: use it before asking for the next.
    """
    buffer = np.empty((rows, genes), np.float32)
    start = filled = 0
    for _, block in blocks:
        taken = 0
        while taken < len(block):
            part = block[taken : taken + rows - filled]
            buffer[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == rows:
                yield start, buffer
                start, filled = start + rows, 0
    if filled:
        yield start, buffer[:filled]
