"""Results that a run is going to write, claimed so that no other run writes the same ones meanwhile.

A claim is a lock of the system's on one byte of ``.bleep-lock`` in the folder of the result, whose name says on
which. Locks end with their process, however that ends, and hold across the machines of most network file systems.
Where there are none (Windows, some shares), nothing is claimed. The file goes with the last claim.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bleep_cli.base.text import file_text
from bleep_cli.errors import OutputError, option

if sys.platform != "win32":
    import fcntl

LOCK = ".bleep-lock"
_ALL = 0  # bytes from the first to whatever comes
_held: set[_Claims] = set()


@contextmanager
def claimed(paths: Iterable[Path]) -> Iterator[None]:
    """Nobody else writes these results while the body runs. Folders that are not there are made, and deleted again
    if nothing has come to lie in them.

    ``OutputError`` where another process has claimed one of them.
    """
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in paths:
        by_folder[path.absolute().parent].append(path)
    taken: list[_Claims] = []
    try:
        for folder, inside in by_folder.items():
            if sys.platform != "win32":
                taken.append(_Claims(folder))
                taken[-1].take(inside)
        yield
    finally:
        for claims in taken:
            claims.end()


def end_claims() -> None:
    """Ends those of this process: for one that is about to end without unwinding."""
    for claims in tuple(_held):
        claims.end()


class _Claims:
    """Of one folder."""

    def __init__(self, folder: Path) -> None:
        self._lock = folder / LOCK
        self._made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        self._file = -1
        _held.add(self)
        with suppress(OSError):  # told when the result itself is written
            folder.mkdir(parents=True, exist_ok=True)
        self._open()

    def take(self, paths: Iterable[Path]) -> None:
        """Claims each. ``OutputError`` where that is another's."""
        for path in paths:
            while self._file >= 0 and not self._take(path):
                os.close(self._file)  # of a file that its last claim took away
                self._open()

    def end(self) -> None:
        """Gives all back, and deletes what is only there for them."""
        if self not in _held:
            return
        _held.discard(self)
        if self._file >= 0:
            with suppress(OSError):  # others have claims here
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, _ALL)
                self._lock.unlink()
            os.close(self._file)
        for folder in self._made:
            with suppress(OSError):
                folder.rmdir()

    def _open(self) -> None:
        self._file = -1
        with suppress(OSError):
            self._file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def _take(self, path: Path) -> bool:
        """False where the file is not the one that others will lock."""
        byte = int.from_bytes(hashlib.sha256(os.fsencode(path.name)).digest()[:7], "big")
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
        except (BlockingIOError, PermissionError) as error:
            raise OutputError(
                f"{file_text(path.name)} is being written by another run; "
                f"wait for its end, or choose another place with {option('out')}"
            ) from error
        except OSError:
            return True  # this file system has no locks
        try:
            return self._lock.stat().st_ino == os.fstat(self._file).st_ino
        except FileNotFoundError:
            return False
