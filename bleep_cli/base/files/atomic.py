"""Results that appear whole or not at all.

A result is written under a temporary name in the folder it is meant for, brought to the disk and renamed at
the end. The names a killed run can leave behind all start with a dot and end in one of two suffixes:

- ``.<name>.<pid>-<random>.bleep-tmp``  an unfinished result, safe to delete;
- ``.<name>.<pid>-<random>.bleep-old``  the folder a new result was just replacing, complete: rename it back, if
  there is none of that name; if there is, it is the new one, and the old one goes with the next result.

Beside them there may be the empty ``.bleep-lock`` of :mod:`bleep_cli.base.files.claims`; the next run deletes it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from secrets import token_hex

from bleep_cli.errors import OutputError, option

TEMP_SUFFIX = ".bleep-tmp"
OLD_SUFFIX = ".bleep-old"
LEFT = re.compile(
    r"^\.(?P<name>.*)\.(?P<pid>[1-9]\d*)-(?P<machine>[0-9a-f]{4})[0-9a-f]{8}"
    rf"(?P<suffix>{re.escape(TEMP_SUFFIX)}|{re.escape(OLD_SUFFIX)})$"
)
_ELSEWHERE = f"choose another place with {option('out')}"
_SYNCS_AT_ONCE = 16
_NAME_CHARACTERS = 40  # of the final name in the temporary one
SWAPS = 20  # attempts, where other processes replace the same folder
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR)  # something has come there meanwhile
FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk that takes no more."""
_unfinished: set[Path] = set()  # temporary names that this process is writing under


def check_free(final: Path, force: bool = False) -> None:
    """Raises before the work starts what :func:`atomic_path` would raise after it.

    ``OutputError`` if ``final`` exists and not ``force``; if it is a folder that is no Zarr store (never
    replaced, so that ``--force`` cannot delete a home folder); if its folder cannot be made or written.
    """
    if os.path.lexists(final):
        if not force:
            raise OutputError(f"{final.name} exists already; {option('force')} replaces it")
        if final.is_dir() and not _is_replaceable(final):
            raise OutputError(f"{final.name} is a folder but no Zarr store, so it stays; {_ELSEWHERE}")
    folder = next(parent for parent in final.absolute().parents if os.path.lexists(parent))
    if not folder.is_dir():
        raise OutputError(f"{final.name} cannot be written: {folder.name} is not a folder; {_ELSEWHERE}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{final.name} cannot be written: {folder.name} is write-protected; {_ELSEWHERE}")


@contextmanager
def atomic_path(final: Path, force: bool = False) -> Iterator[Path]:
    """Yields a free temporary path beside ``final``, where the body makes one file or one folder.

    When the body ends, that file or folder is synced to the disk and renamed to ``final``; when it raises,
    it is removed. Folders above ``final`` are made. The temporary name has no telling suffix: name the
    format to the library that writes. With ``force`` a file is replaced in one step; a Zarr store is first
    renamed away, then the new one renamed in, then the old one deleted. A path that appears while the body
    runs is not overwritten without ``force``.

    ``OutputError`` for what :func:`check_free` refuses and for every ``OSError``, of the body's too.
    """
    with _whole(final, force, sync=True) as temp:
        yield temp


@contextmanager
def replacing(final: Path) -> Iterator[Path]:
    """The same for what can be made again, such as a cache: it is replaced without asking, and not waited for
    until it is on the disk."""
    with _whole(final, force=True, sync=False) as temp:
        yield temp


@contextmanager
def _whole(final: Path, force: bool, *, sync: bool) -> Iterator[Path]:
    check_free(final, force)
    sweep(final.parent)
    temp = _sibling(final, TEMP_SUFFIX)
    _unfinished.add(temp)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temp
        if sync:
            _sync(temp)
        _place(temp, final, force)
        sweep(
            final.parent
        )  # of what was there before, whose process ended before it could put a new one in its place
        if sync:
            _sync_folder(final.parent)
    except OSError as error:
        raise OutputError(_message(final, error)) from error
    finally:
        _remove(temp)
        _unfinished.discard(temp)


def remove_unfinished() -> None:
    """Deletes what this process is still writing: for a process that is about to end without unwinding."""
    for _ in range(2):  # a thread may have added a file to a folder while it was deleted
        for temp in tuple(_unfinished):
            _remove(temp)


def remove_leftovers(final: Path, pid: int, *, replaced: bool) -> None:
    """Deletes the temporary names that process ``pid`` has left beside ``final``; a running attempt would fail.

    Only with ``replaced`` also the old folder that was being replaced: until a new result stands in its place it
    is the only one. Of names with the same first 40 characters all are meant.
    """
    start = f".{final.name[:_NAME_CHARACTERS]}.{pid}-"
    suffixes = (TEMP_SUFFIX, OLD_SUFFIX) if replaced else (TEMP_SUFFIX,)
    with suppress(OSError):
        for entry in list(final.parent.iterdir()):
            if entry.name.startswith(start) and entry.name.endswith(suffixes):
                _remove(entry)


def sweep(folder: Path) -> None:
    """Deletes the unfinished results in a folder whose processes, of this machine, are gone.

    What such a process was replacing (``.bleep-old``) stays while there is nothing of its name: it is complete. Of
    a name that was cut short it stays as well.
    """
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            found = LEFT.search(entry.name)
            if not found or found["machine"] != machine() or _runs(int(found["pid"])):
                continue
            whole = len(found["name"]) < _NAME_CHARACTERS and os.path.lexists(folder / found["name"])
            if found["suffix"] == TEMP_SUFFIX or whole:
                _remove(entry)


@cache
def machine() -> str:
    """Four signs for where this process runs, and its numbers count: a machine, or a container on it."""
    try:
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:4]


def _runs(pid: int) -> bool:
    """Whether there is such a process; true where that cannot be told."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _is_replaceable(folder: Path) -> bool:
    """Whether ``--force`` may delete a folder: a Zarr store of either version, or empty, or gone by now.

    Asked again where another process has put another folder in its place meanwhile.
    """
    for _ in range(SWAPS):
        try:
            before = folder.stat().st_ino
            marked = any((folder / mark).is_file() for mark in ("zarr.json", ".zgroup"))
            if marked or not any(folder.iterdir()):
                return True
            if folder.stat().st_ino == before:
                return False
        except (FileNotFoundError, NotADirectoryError):
            return not folder.is_dir()
    return False


def _sibling(final: Path, suffix: str) -> Path:
    """A hidden name in the same folder, unique to this process and call, short enough for any file system."""
    return final.with_name(f".{final.name[:_NAME_CHARACTERS]}.{os.getpid()}-{machine()}{token_hex(4)}{suffix}")


def _place(temp: Path, final: Path, force: bool) -> None:
    if not force:
        _place_new(temp, final)
    elif temp.is_dir() or final.is_dir():
        _swap(temp, final)
    else:
        temp.replace(final)


def _place_new(temp: Path, final: Path) -> None:
    """Renames, unless another process has made ``final`` since it was checked.

    A rename would replace a file silently; a hard link does not, where the file system has them.
    """
    if temp.is_file():
        with suppress(OSError):
            os.link(temp, final)
            return
    check_free(final)
    temp.rename(final)


def _swap(temp: Path, final: Path) -> None:
    """Puts ``temp`` in the place of ``final`` where one of them is a folder, which no single call can do.

    Another process may do the same at the same time: what it has put there first is replaced as well.
    """
    for _ in range(SWAPS):
        old = _sibling(final, OLD_SUFFIX)
        with suppress(FileNotFoundError):
            final.rename(old)
        try:
            temp.rename(final)
        except OSError as error:
            if error.errno not in _TAKEN:
                _back(old, final)
                raise
        except BaseException:
            _back(old, final)
            raise
        else:
            _remove(old)
            return
        _remove(old)  # another has put its own in its place
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def _back(old: Path, final: Path) -> None:
    """Gives what was to be replaced its name again."""
    if os.path.lexists(old):
        old.rename(final)


def _remove(path: Path) -> None:
    """Deletes a file, a link (never what it points to) or a folder; what cannot be deleted stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Brings a file, or every file of a folder, to the disk. ``OSError`` if the disk does not take it."""
    if path.is_file():
        _sync_file(path)
        return
    inside = list(path.rglob("*"))
    with ThreadPoolExecutor(_SYNCS_AT_ONCE) as pool:  # the disk gathers them into few writes
        list(pool.map(_sync_file, (entry for entry in inside if entry.is_file())))
    for folder in [path, *(entry for entry in inside if entry.is_dir())]:
        _sync_folder(folder)


def _sync_file(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())


def _sync_folder(folder: Path) -> None:
    """Brings a folder's entries to the disk where the system can (Windows and some shares cannot)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _message(final: Path, error: OSError) -> str:
    if error.errno in FULL:
        return f"{final.name} cannot be written: the disk is full; free some space or {_ELSEWHERE}"
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return f"{final.name} cannot be written: {reason}; {_ELSEWHERE}"
