"""SHA-256 of tables, files and folders."""

from __future__ import annotations

import hashlib
import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import Rows, row_blocks

ROW_BLOCK = 16_384  # rows hashed at a time


def sha256_of(rows: Rows) -> str:
    """Hash of f32 values in C order, read some rows at a time."""
    digest = hashlib.sha256()
    for block in row_blocks(rows, ROW_BLOCK):
        digest.update(buffer_of(np.asarray(block)))
    return digest.hexdigest()


def buffer_of(block: NDArray[Any]) -> memoryview | bytes:
    """What is hashed of an array: numbers little-endian in C order, anything else as text with its lengths."""
    if block.dtype.kind in "fiu":
        return np.ascontiguousarray(block, block.dtype.newbyteorder("<")).view(np.uint8).data
    return "".join(f"{len(text)}:{text}" for text in map(str, block)).encode()  # no two columns read alike


def file_sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def file_identity(path: Path) -> tuple[int, ...]:
    """What tells a file from one that was put in its place, or was written to since; empty for what is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else ()


def fingerprint(path: Path) -> dict[str, Any]:
    """``bytes`` and ``sha256`` of a file, or of all files of a folder with their names."""
    if path.is_file():
        with path.open("rb") as file:
            return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    inside = sorted(entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file())
    each = [(name, fingerprint(path / name)) for name in inside]
    digest = hashlib.sha256(json.dumps(each).encode()).hexdigest()
    return {"bytes": sum(found["bytes"] for _, found in each), "sha256": digest}
