"""System calls of real commands: which sockets they open, what they make and leave behind.

A process is traced by strace in an empty home folder, without any network where the system allows that.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bleep_cli.base import privacy

CALLS = "network,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
MADE = re.compile(r'(?:openat?|creat|mkdir(?:at)?|rename(?:at2?)?|link(?:at)?|symlink(?:at)?)\(.*"([^"]+)"')
ALIVE_S = 40
"""ONNX Runtime sends its telemetry in batches, so a process has to live for half a minute to be believed."""

_COMMANDS = """
import sys, time
start = time.monotonic()
from MODULE import main
for arguments in ARGUMENTS:
    sys.argv = ["PROGRAM", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
time.sleep(max(0, ALIVE_S - (time.monotonic() - start)))
"""


def long_lived(module: str, commands: Sequence[Sequence[str]]) -> str:
    """Code of a process that runs commands of ``module.main`` one after the other and lives long enough."""
    code = _COMMANDS.replace("ARGUMENTS", repr([list(command) for command in commands]))
    return code.replace("MODULE", module).replace("PROGRAM", module).replace("ALIVE_S", str(ALIVE_S))


@dataclass(frozen=True)
class Traced:
    """What a process did that others could see."""

    sockets: list[str]
    """Calls that name an internet address family."""
    made: list[str]
    """Paths made or written outside the test's own folder."""
    left: list[str]
    """Files in the home and temporary folders after its end."""


@pytest.fixture
def traced(tmp_path: Path) -> Callable[[str], Traced]:
    """Runs Python code under strace, in an empty home and without any network."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    places = {name: tmp_path / name for name in ("home", "temp", "work")}
    for place in places.values():
        place.mkdir()
    python = [sys.executable, "-c"]
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    cut_off = ["unshare", "-n"] if probe.returncode == 0 else []

    def run(code: str) -> Traced:
        log = tmp_path / "trace"
        kept = {k: v for k, v in os.environ.items() if k not in {*privacy.OFF, "MPLCONFIGDIR", "NUMBA_CACHE_DIR"}}
        kept = {k: v for k, v in kept.items() if not k.startswith("XDG_")}
        settings = {"HOME": str(places["home"]), "TMPDIR": str(places["temp"]), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(
            [*cut_off, "strace", "-f", "--seccomp-bpf", "-e", f"trace={CALLS}", "-o", log, *python, code],
            env=kept | settings, cwd=places["work"], capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        calls = log.read_text(errors="replace").splitlines()
        changing = [
            c for c in calls if "= -1 " not in c and ("open" not in c or re.search("O_CREAT|O_WRONLY|O_RDWR", c))
        ]
        made = [found.group(1) for call in changing if (found := MADE.search(call))]
        outside = [p for p in made if p.startswith("/") and not p.startswith(("/dev/", "/proc/", str(tmp_path)))]
        left = [str(f.relative_to(tmp_path)) for name in ("home", "temp") for f in places[name].rglob("*")]
        return Traced([c for c in calls if "AF_INET" in c], outside, left)

    return run
