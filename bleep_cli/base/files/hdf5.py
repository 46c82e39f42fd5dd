"""HDF5 from outside, behind a process that looks at it first.

libhdf5 follows what a file says of its own structure before anything here can look at it: altered, it loops
without end in its own heap, or ends the process. So another process walks through the whole file before, within
limits of time and memory; a file that ends it is never opened here (docs/threats.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bleep_cli.base.files.stored_arrays import UnsoundError
from bleep_cli.base.files.unpacked import regular
from bleep_cli.base.hashing import file_identity
from bleep_cli.limits import HDF5_BYTES_PER_SECOND, HDF5_SECONDS, over

if TYPE_CHECKING:
    import h5py

UNSOUND = 9
"""Exit code of that process for a file that is refused."""
SIGXCPU = 24
"""The signal by which a process ends that has used up its time."""
WAITED = 6
"""Seconds that are waited for each one of the processor's: other programs run on it as well."""
_CHILD = """
import sys
path, seconds, *sys.path[:] = sys.argv[1:]
from bleep_cli.base.files.hdf5_walk import main
main(path, int(seconds))
"""
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_verdicts: dict[tuple[int, ...], str] = {}  # of files, what is wrong with each, as this process was told


def is_hdf5(path: Path) -> bool:
    """Whether a file begins as HDF5 does."""
    import h5py

    return path.is_file() and bool(h5py.is_hdf5(path))


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, all of it checked: its structure holds, its bytes are its own, sizes can be,
    matrices are sound.

    A file is walked through once in the life of this process, unless it has changed. Raises ``UnsoundError`` that
    names what is wrong, ``ValueError`` for what is no file, ``OSError`` for what cannot be read.
    """
    import h5py

    seen = file_identity(regular(path))
    if seen not in _verdicts:
        _verdicts[seen] = _verdict(path, seen[1]) if is_hdf5(path) else ""  # h5py says what is wrong with others
    if _verdicts[seen]:
        raise UnsoundError(_verdicts[seen])
    with h5py.File(path, "r") as file:
        if file_identity(path) != seen:
            raise UnsoundError("it was changed while it was looked at")
        yield file


def _verdict(path: Path, size: int) -> str:
    """What is wrong with a file of ``size`` bytes; empty for a sound one."""
    seconds = HDF5_SECONDS + size // HDF5_BYTES_PER_SECOND
    command = [sys.executable, "-I", "-c", _CHILD, str(path), str(seconds), *sys.path]
    try:
        ended = subprocess.run(
            command,
            env=os.environ | _ONE_THREAD,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=WAITED * seconds,
            check=False,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        code, told = -SIGXCPU, ""
    else:
        code, told = ended.returncode, ended.stdout.decode("utf-8", "replace")
    if code == -SIGXCPU:
        return f"damaged HDF5: {over(f'looking at its structure for {seconds} s', 'HDF5_SECONDS')}"
    if code == 1:  # of Python, which has found no h5py, or too little memory to begin
        raise RuntimeError("the process that looks at HDF5 files cannot start")
    if code not in (0, UNSOUND):
        return f"damaged HDF5: its structure ends the process that looks at it (exit code {code})"
    return told
