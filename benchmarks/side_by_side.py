"""What the benchmarks share: processes with their wall time, CPU time and peak memory; medians, tables, JSON."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
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


# A process counts the memory of the one that started it as its own peak, so a small one stands in between.
LAUNCHER = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
record = [time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss // 1024]
with open(sys.argv[1], "w") as file:
    json.dump(record, file)
sys.exit(process.returncode)
"""


def child(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measured:
    """Runs a command to its end; its stderr is ours. ``SystemExit`` where it fails."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        usage = Path(folder) / "usage.json"
        run = subprocess.run(
            [sys.executable, "-c", LAUNCHER, str(usage), *command],
            stdout=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
            check=False,
        )
        if run.returncode:
            raise SystemExit(f"{' '.join(map(str, command[:4]))} ...: exit status {run.returncode}")
        wall, cpu, rss = json.loads(usage.read_text(encoding="utf-8"))
    return Measured(wall, cpu, rss, run.stdout)


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
