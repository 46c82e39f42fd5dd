"""A search of the runtime's code for what only POSIX has. It is no run on Windows, and docs/install.md says so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[3] / "bleep_cli"
FILES = sorted(RUNTIME.rglob("*.py"))
MODULES = {"fcntl", "grp", "pwd", "resource", "termios", "tty", "pty", "syslog", "readline", "spwd", "posix"}
CALLS = {
    "os": {
        *("fork", "forkpty", "getuid", "geteuid", "getgid", "setsid", "setuid", "killpg", "getpgid", "mkfifo"),
        *("mknod", "chown", "lchown", "nice", "wait", "wait3", "wait4", "uname", "getloadavg", "pread", "pwrite"),
        *("sendfile", "statvfs", "sched_getaffinity", "sysconf", "register_at_fork", "set_blocking", "link"),
        *("symlink", "rename", "posix_fallocate"),
    },
    "signal": {
        *("SIGHUP", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGPIPE", "SIGALRM", "SIGCHLD", "SIGQUIT", "SIGWINCH"),
        *("alarm", "setitimer", "pause", "sigwait", "pthread_kill", "pthread_sigmask"),
    },
    "time": {"tzset", "clock_gettime"},
}
GUARDED = {  # file → what it asks for only where it is there: by hasattr, by the platform, or caught
    "base/machine.py": {"os.sched_getaffinity", "os.sysconf"},
    "base/files/atomic.py": {"os.link"},
    "base/files/claims.py": {"fcntl"},
    "base/files/hdf5_walk.py": {"resource"},
    "base/files/on_disk.py": {"os.posix_fallocate"},
    "commands/interrupt.py": {"os.register_at_fork", "os.set_blocking"},
}
GUARDS = {
    "os.sched_getaffinity": 'hasattr(os, "sched_getaffinity")',
    "os.sysconf": "except (AttributeError",
    "os.link": "suppress(OSError)",
    "resource": "suppress(ImportError)",
    "fcntl": 'sys.platform != "win32"',
    "os.posix_fallocate": 'hasattr(os, "posix_fallocate")',
    "os.register_at_fork": 'hasattr(os, "register_at_fork")',
    "os.set_blocking": 'sys.platform != "win32"',
}
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
LONGEST = 120
"""Characters of a path from the project's folder: with 140 before them Windows still takes it."""


def posix_only(tree: ast.AST) -> Iterator[str]:
    """What a module imports or names that Windows has not, as ``os.fork``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in MODULES:
                yield node.module
            yield from (f"{node.module}.{a.name}" for a in node.names if a.name in CALLS.get(node.module, ()))
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in CALLS.get(node.value.id, ())
        ):
            yield f"{node.value.id}.{node.attr}"


def test_nothing_is_asked_for_that_only_posix_has_but_what_is_guarded() -> None:
    found = {f.relative_to(RUNTIME).as_posix(): set(posix_only(ast.parse(f.read_text("utf-8")))) for f in FILES}
    assert len(found) > 100
    assert {file: names for file, names in found.items() if names} == GUARDED
    for file, names in GUARDED.items():
        text = (RUNTIME / file).read_text("utf-8")
        assert all(GUARDS[name] in text for name in names), file


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import os\nos.fork()", ["os.fork"]),
        ("from signal import SIGHUP, SIGINT", ["signal.SIGHUP"]),
        ("import fcntl", ["fcntl"]),
        ("import signal, os\nsignal.SIGTERM, os.replace", []),
    ],
)
def test_the_search_finds_what_it_is_for(code: str, found: list[str]) -> None:
    assert list(posix_only(ast.parse(code))) == found


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Every node of every file of the runtime, with the file's name."""
    for file in FILES:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            yield file.relative_to(RUNTIME).as_posix(), node


def states_no_encoding(node: ast.AST) -> bool:
    """``path.read_text()`` or ``path.write_text(text)``, without more."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
        return False
    return {"read_text": 0, "write_text": 1}.get(node.func.attr) == len(node.args)


def test_text_files_are_opened_with_their_encoding() -> None:
    """Windows' own would be another."""
    assert states_no_encoding(ast.parse("a.write_text(b)", mode="eval").body)
    assert not [file for file, node in nodes() if states_no_encoding(node)]


def test_no_path_of_posix_is_taken_for_granted() -> None:
    """These are read where they are there, under ``except OSError``."""
    place = re.compile(r"/(tmp|dev|proc|sys|etc|usr|var|home)(/|$)")
    texts = [(file, node.value) for file, node in nodes() if isinstance(node, ast.Constant)]
    found = [(file, text) for file, text in texts if isinstance(text, str) and place.match(text)]
    assert sorted(found) == [("base/files/atomic.py", "/proc/self/ns/pid"), ("base/machine.py", "/sys/fs/cgroup")]


def test_no_file_of_the_runtime_has_a_name_that_windows_refuses() -> None:
    root = RUNTIME.parent
    files = [p.relative_to(root) for top in ("bleep_cli", "artifacts", "train") for p in (root / top).rglob("*")]
    files = [path for path in files if "__pycache__" not in path.parts]
    assert len(files) > 200
    for path in files:
        for part in path.parts:
            assert not RESERVED.fullmatch(part), path
            assert not re.search(r'[<>:"\\|?*\x00-\x1f]|[ .]$', part), path
        assert len(path.as_posix()) <= LONGEST
    assert len({path.as_posix().lower() for path in files}) == len(files)
