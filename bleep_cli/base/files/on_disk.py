"""Arrays that lie on the disk and are written in place."""

from __future__ import annotations

import math
import os
import tempfile
import weakref
from typing import BinaryIO

import numpy as np

from bleep_cli.types import F32

ZEROS = bytes(1 << 20)


def array_on_disk(shape: tuple[int, ...]) -> F32:
    """f32 zeros in a temporary file of the system's own, which goes with them. ``OSError`` for want of room."""
    file = tempfile.TemporaryFile(prefix="bleep-")  # noqa: SIM115 - it lives as long as the array
    try:
        reserve(file, 4 * math.prod(shape))
        values: F32 = np.memmap(file, np.float32, "r+", shape=shape)
    except BaseException:
        file.close()
        raise
    weakref.finalize(values, file.close)
    return values


def reserve(file: BinaryIO, size: int) -> None:
    """Takes the room of a file that will be written through memory: were the disk to fill up meanwhile, the system
    would end the process (SIGBUS). ``OSError`` where there is no room."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, max(size, 1))
        return
    for start in range(0, size, len(ZEROS)):
        file.write(ZEROS[: size - start])
    file.flush()
