"""Fuzzes one door of the program for some minutes: ``python tools/trials/fuzz.py DOOR --minutes 10 [--seed 0]``.

Doors are those of ``tests/fuzz/doors.py``. Prints how attempts ended, and for every fault the seed that does it
again; the exit code is 1 where there was one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests"


def main() -> int:
    """Runs the command line."""
    sys.path[:0] = [str(TESTS / "fuzz"), str(TESTS), str(TESTS.parent)]
    from doors import DOORS, find, fuzz

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("door", choices=DOORS)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="of the first attempt")
    parser.add_argument("--attempts", type=int, default=1 << 60, help="at most so many")
    options = parser.parse_args()
    warnings.simplefilter("error")  # none may reach a user
    with tempfile.TemporaryDirectory(prefix="bleep-fuzz-") as folder:
        seeds = range(options.seed, options.seed + options.attempts)
        ended, faults = fuzz(find(options.door)(Path(folder)), seeds, 60 * options.minutes)
    for fault in faults[:10]:
        print(f"seed {fault.seed}:", *traceback.format_exception(fault.error)[-6:], sep="\n  ")
    print(f"{options.door}: " + ", ".join(f"{count} {how}" for how, count in sorted(ended.items())))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
