"""What hostile files cost: each is read by its command in a process of its own, whose time and memory are taken.

    python tools/trials/hostile [FOLDER...] [--crafted]

Without a folder, and with ``--crafted``, these are small files that claim or unpack to gigabytes (``crafted.py``);
of a folder, every file of it, as a slide to predict. The exit code is 1 where one needs over 1 GB of memory or
over 30 s of a processor, or ends as a bug does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from cost import MOST_MB, MOST_SECONDS, Cost, cost_of
from crafted import CRAFTED, predict, sizes


def row(name: str, size: int, cost: Cost) -> str:
    """A line of the table."""
    flag = "" if cost.within else "  <-- too much"
    return f"{name:44.44} {size:11,} B {cost.code:4} {cost.seconds:6.1f} s {cost.mb:6} MB  {cost.last}{flag}"


def main() -> int:
    """Runs the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--crafted", action="store_true", help="the crafted ones, too")
    parser.add_argument("--only", help="one of the crafted ones")
    given = parser.parse_args()
    costs: list[Cost] = []
    for name, make in CRAFTED.items() if given.crafted or not given.folders else ():
        if given.only in (None, name):
            with tempfile.TemporaryDirectory(prefix="bleep-hostile-") as folder:
                words = make(Path(folder))
                costs.append(cost_of(words, Path(folder)))
                print(row(name, max(sizes(Path(folder)), default=0), costs[-1]), flush=True)
    for path in sorted(file for folder in given.folders for file in folder.iterdir() if file.is_file()):
        with tempfile.TemporaryDirectory(prefix="bleep-hostile-") as folder:
            costs.append(cost_of(predict(path, "--mpp", "0.5"), Path(folder)))
            print(row(path.name, path.stat().st_size, costs[-1]), flush=True)
    most = max(costs, key=lambda cost: cost.mb), max(costs, key=lambda cost: cost.seconds)
    over = sum(not cost.within for cost in costs)
    print(f"{len(costs)} files: {most[0].mb} MB and {most[1].seconds:.1f} s of a processor at most")
    print(f"{over} over {MOST_MB} MB, {MOST_SECONDS} s, or ended as a bug")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
