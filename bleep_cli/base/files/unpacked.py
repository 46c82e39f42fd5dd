"""Files that may be compressed, read whole within a limit: what they unpack to is counted while it is unpacked."""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile, GzipFile
from pathlib import Path
from typing import BinaryIO, Literal, cast

from bleep_cli import limits
from bleep_cli.limits import RATIO_FREE_TEXT, over

GZIP = b"\x1f\x8b"
PART = 4 << 20  # bytes unpacked at a time
Most = Literal["MOST_TABLE_BYTES", "MOST_TEXT_BYTES", "MOST_MASK_BYTES"]
"""A limit of :mod:`bleep_cli.limits` that a kind of file has."""


def regular(path: Path) -> Path:
    """The path, if it is a file on a disk: a pipe or a device may never end.

    Raises ``OSError`` for what is not there, ``ValueError`` for what is no file.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError("it is a folder")
    if not stat.S_ISREG(mode):
        raise ValueError("it is no file on a disk but a pipe or a device")
    return path


def read_unpacked(path: Path, most: Most) -> bytes:
    """All bytes of a file, gzip taken off.

    Raises ``ValueError`` for more of them than ``most``, for more than so few packed ones can hold, for broken
    compression and for what is no regular file; ``OSError`` for what cannot be read.
    """
    return b"".join(unpacked(path, most))


def unpacked(path: Path, most: Most) -> Iterator[bytes]:
    """The same in parts."""
    allowed: int = getattr(limits, most)
    with regular(path).open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        stored = os.fstat(file.fileno()).st_size
        told, limit = over("what it unpacks to" if packed else f"a file of {stored:,} bytes", most), allowed
        ratio = "MOST_TEXT_RATIO" if most == "MOST_TEXT_BYTES" else "MOST_TABLE_RATIO"
        if packed and max(RATIO_FREE_TEXT, stored * getattr(limits, ratio)) < allowed:
            limit = max(RATIO_FREE_TEXT, stored * getattr(limits, ratio))
            told = over(f"what {stored:,} bytes unpack to", ratio)
        source = cast("BinaryIO", GzipFile(fileobj=file)) if packed else file
        try:
            while part := source.read(PART):
                limit -= len(part)
                if limit < 0:
                    raise ValueError(told)
                yield part
        except (EOFError, zlib.error, BadGzipFile) as error:
            raise ValueError("its gzip compression is broken or cut short") from error
