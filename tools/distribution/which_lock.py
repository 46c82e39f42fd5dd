"""Prints the lock for the Python that runs this, or nothing where there is none: ``make demo`` asks it.

A lock holds the hashes of wheels for CPython, Linux x86_64 and one glibc or later, which its head states. Another
system would be given other wheels, whose hashes it does not hold. Needs nothing but Python.
"""

from __future__ import annotations

import platform
import re
import sys
import sysconfig
from pathlib import Path

FOLDER = Path("requirements")
GLIBC = re.compile(r"glibc (\d+)\.(\d+) or later")


def lock_here(what: str = "runtime-cpu") -> Path | None:
    """``requirements/runtime-cpu-X.Y.txt`` relative to the project's folder, if its wheels run here."""
    path = FOLDER / f"{what}-{sys.version_info[0]}.{sys.version_info[1]}.txt"
    here = Path(__file__).parents[2] / path
    if not here.is_file() or sys.implementation.name != "cpython" or sysconfig.get_platform() != "linux-x86_64":
        return None
    needed = GLIBC.search(here.read_text(encoding="utf-8"))
    libc, version = platform.libc_ver()
    if needed is None or libc != "glibc":
        return None
    return path if tuple(map(int, version.split("."))) >= tuple(map(int, needed.groups())) else None


if __name__ == "__main__":
    print(lock_here(*sys.argv[1:]) or "")
