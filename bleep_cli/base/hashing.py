"""SHA-256 of tables, files and folders."""

from __future__ import annotations

import hashlib
import json
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import Rows, row_blocks

ROW_BLOCK = 16_384  # rows hashed at a time
READ_BYTES = 1 << 20  # of a file


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


def file_sha256(file: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """Hex digest of a file. ``InterruptedError`` soon after ``stopped()`` is true."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(READ_BYTES))
    with file.open("rb", buffering=0) as handle:
        while count := handle.readinto(buffer):
            if stopped():
                raise InterruptedError
            digest.update(buffer[:count])
    return digest.hexdigest()


class FileHash:
    """SHA-256 of one file, worked out once, beside other work where there is some.

    A file of gigabytes takes as long to hash as to read: done beside, it costs a run no time of its own as long as
    there is a disk and a core to spare.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: str | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def begin(self) -> None:
        """Begins it in a thread of its own, unless it is known or has been begun."""
        if self._found is None and self._thread is None:
            self._thread = threading.Thread(target=self._work, name="bleep-hash", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread, which takes no longer than reading a megabyte."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def digest(self) -> str:
        """Its hex digest, as soon as it is known. ``OSError``."""
        if self._thread is not None:
            self._thread.join()
        if self._found is None:
            self._found = file_sha256(self._path)
        return self._found

    def _work(self) -> None:
        with suppress(OSError):  # whoever asks for the digest meets it again
            self._found = file_sha256(self._path, self._stopped.is_set)


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
        return {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    inside = sorted(entry.relative_to(path).as_posix() for entry in path.rglob("*") if entry.is_file())
    each = [(name, fingerprint(path / name)) for name in inside]
    digest = hashlib.sha256(json.dumps(each).encode()).hexdigest()
    return {"bytes": sum(found["bytes"] for _, found in each), "sha256": digest}
