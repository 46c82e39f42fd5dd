"""Commands in processes that lack something: room on the disk, leave to write, memory, large files.

``python faulty.py`` reads trials from stdin, loads the program once, forks for each and tells their ends on
stdout; :func:`trials` runs it, where disks are asked for in a name space of its own.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

from bleep_cli.base.hashing import file_sha256

BALLAST, NEW = "ballast", "new"
DISK = 64 << 20  # bytes of the small disk
SECONDS = 240.0  # after which a command hangs
NAME_SPACE = ("unshare", "--map-root-user", "--mount")


@dataclass(frozen=True)
class Trial:
    """A command, and what it lacks."""

    words: tuple[str, ...]
    room: float | None = None
    """Free on the small disk, as a share of what the command takes there; it has run once before then."""
    largest: int | None = None
    """Bytes that a file may have."""
    memory: int | None = None
    """Bytes that the process may take beside those that it has when it starts."""


@dataclass(frozen=True)
class End:
    """How it ended."""

    code: int
    out: str
    err: str
    left: dict[str, str]
    """What lies on the disk now, hidden files too: path → SHA-256."""


@cache
def own_disks() -> bool:
    """Whether disks can be mounted here, in a name space of their own."""
    try:
        mount = "mount -t tmpfs none /mnt && mount -o remount,ro /mnt"
        return subprocess.run([*NAME_SPACE, "sh", "-c", mount], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def trials(wanted: Sequence[Trial], disk: Path, *, mount: str = "") -> list[End]:
    """Runs them one after the other. ``mount`` is "small" for a small disk at ``disk``, "read-only" to forbid
    writing there, or nothing. ``disk / "new"`` is emptied before each."""
    command = [sys.executable, str(Path(__file__)), str(disk), mount]
    command = [*NAME_SPACE, *command] if mount else command
    given = json.dumps([asdict(trial) for trial in wanted])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise AssertionError(done.stderr[-3000:])
    return [End(**end) for end in json.loads(done.stdout)]


# --- in the process that forks


def _serve(disk: Path, mount: str, wanted: Sequence[Trial]) -> list[End]:
    if mount == "small":
        _mount("-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk))
    elif mount:
        _mount("--bind", str(disk), str(disk))
        _mount("-o", "remount,bind,ro", str(disk))
    _load()
    return [_tried(trial, disk) for trial in wanted]


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def _load() -> None:
    """All that commands import, so that it is there before anything is missing."""
    import anndata
    import matplotlib.backends.backend_agg
    import matplotlib.font_manager
    import onnxruntime
    import pyarrow.parquet
    import scipy.sparse.linalg
    import zarr

    import bleep_cli.cli
    import bleep_cli.cluster
    from bleep_cli import api

    assert all((anndata, zarr, api, bleep_cli.cli, matplotlib, onnxruntime, pyarrow, scipy))


def _tried(trial: Trial, disk: Path) -> End:
    shutil.rmtree(disk / NEW, ignore_errors=True)
    if trial.room is None:
        with suppress(OSError):  # a disk that nothing can be deleted from holds none
            (disk / BALLAST).unlink()
    else:
        _leave_room(trial, disk)
    return _run(trial, disk)


def _leave_room(trial: Trial, disk: Path) -> None:
    """Fills the disk but for a share of what the command writes there."""
    ballast = disk / BALLAST
    ballast.unlink(missing_ok=True)
    before = _free(disk)
    whole = _run(replace(trial, room=None), disk)
    if whole.code:
        raise AssertionError(f"{trial.words}: {whole.err}")
    room = trial.room * (before - _free(disk))
    shutil.rmtree(disk / NEW, ignore_errors=True)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, _free(disk) - int(room))


def _free(disk: Path) -> int:
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


def _run(trial: Trial, disk: Path) -> End:
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = os.fork()
        if pid == 0:
            _become(trial, out.fileno(), err.fileno())
        code = _waited(pid)
        for stream in (out, err):
            stream.seek(0)
        inside = [path for path in sorted(disk.rglob("*")) if path.name != BALLAST]
        left = {str(path.relative_to(disk)): file_sha256(path) if path.is_file() else "" for path in inside}
        return End(code, out.read(), err.read(), left)


def _become(trial: Trial, out: int, err: int) -> None:
    """Turns a fork into the command; never returns."""
    code = 99
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        for limit, size in ((resource.RLIMIT_FSIZE, trial.largest), (resource.RLIMIT_AS, trial.memory)):
            if size is not None:
                taken = _address_space() if limit == resource.RLIMIT_AS else 0
                resource.setrlimit(limit, (taken + size, taken + size))
        sys.argv = ["bleep", *trial.words]
        from bleep_cli.cli import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _waited(pid: int) -> int:
    """Its exit code, or minus the signal that ended it."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    given = [Trial(**{**trial, "words": tuple(trial["words"])}) for trial in json.load(sys.stdin)]
    print(json.dumps([asdict(end) for end in _serve(Path(sys.argv[1]), sys.argv[2], given)]))
