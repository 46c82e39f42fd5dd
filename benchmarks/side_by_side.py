"""What the benchmarks share: processes with their wall time, CPU time and peak memory; medians, tables, JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One run of a process: ``wall_s``, ``cpu_s`` (user and system), ``rss_mb`` peak, stdout."""

    wall_s: float
    cpu_s: float
    rss_mb: int
    out: str


def child(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measured:
    """Runs a command to its end; its stderr is ours. ``SystemExit`` where it fails."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, env={**os.environ, **(env or {})})
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode()
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command[:4]))} ...: exit status {process.returncode}")
    return Measured(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024, text)


def median(values: Sequence[float], digits: int = 3) -> float:
    """The median, rounded."""
    return round(statistics.median(values), digits)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    lines += ["| " + " | ".join("" if row[n] is None else str(row[n]) for n in names) + " |" for row in rows]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"cpu": model, "cores": os.cpu_count(), "load_1min": load, "python": platform.python_version()}


def report(rows: Sequence[Mapping[str, Any]], path: Path | None, **more: Any) -> None:
    """Prints the rows, and writes them with the machine to ``path``."""
    print(table(rows))
    if path is not None:
        record = {"machine": machine(), **more, "rows": list(rows)}
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
