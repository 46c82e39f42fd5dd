"""What a command costs, taken of a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOST_MB, MOST_SECONDS = 1_000, 30
# A process begins with the memory of what starts it as its most, so a small one stands between and tells.
BETWEEN = """
import os, resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print()
print(code, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


@dataclass(frozen=True)
class Cost:
    """What a command took, and how it ended."""

    code: int
    """Exit code; below 0: the signal."""
    seconds: float
    """Of a processor, those of its own children too."""
    mb: int
    """Most memory that it, or one of its children, held at a time."""
    last: str
    """The last line that it said."""

    @property
    def bug(self) -> bool:
        """Whether it ended as no bad input may end it."""
        return self.code < 0 or self.code == 1

    @property
    def within(self) -> bool:
        """Whether it kept to what it may take."""
        return self.mb <= MOST_MB and self.seconds <= MOST_SECONDS and not self.bug


def cost_of(words: Sequence[str], folder: Path) -> Cost:
    """Runs ``bleep`` with these words, its output in a folder. POSIX only."""
    said = folder / "said.txt"
    out = folder / ("out.zarr" if words[0] == "build-reference" else "out")
    command = [sys.executable, "-m", "bleep_cli.cli", *words, "-o", str(out), "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with said.open("wb") as stream:
        between = [sys.executable, "-I", "-S", "-c", BETWEEN, *command]
        subprocess.run(between, stdout=stream, stderr=stream, env=environment, check=True)
    *lines, _, told = said.read_text("utf-8", "replace").splitlines()
    code, seconds, most = told.split()
    per_mb = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return Cost(int(code), float(seconds), int(most) // per_mb, lines[-1] if lines else "")
