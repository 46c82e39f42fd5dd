"""This machine: its cores, its free memory, the versions installed."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path


def free_memory_mb() -> int | None:
    """Free physical memory where the system tells it."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (AttributeError, ValueError, OSError):
        return None


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may run on, and no more than a container's CPU quota allows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:  # "max 100000", or microseconds of CPU time in so many of the clock's
        quota, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no container, or no quota
        return cores


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of those of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    out = {}
    for package in packages:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out
