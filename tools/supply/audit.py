"""Known vulnerabilities of what the locks hold, by pip-audit: ``make audit``.

    python tools/supply/audit.py [--must] [LOCK ...]     by default every lock of the runtime

Where nobody can be asked, it says "not checked" and ends well, since a build must not need a network; with
``--must``, as before a release, it then ends with exit code 2. A vulnerability ends it with 1 in both cases.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "requirements"
SECONDS = 120  # for a lock; a network that does not answer is none
FOUND, UNCHECKED = 1, 2


def ask(lock: Path) -> tuple[list[dict[str, Any]], str]:
    """(what pip-audit says of each distribution, "") or (nothing, why it says nothing)."""
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--disable-pip", "--require-hashes"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        return json.loads(done.stdout)["dependencies"], ""
    except subprocess.TimeoutExpired:
        return [], f"no answer in {SECONDS} s"
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        return [], said[-1][:200] if said else "pip-audit says nothing"


def told(name: str, found: list[dict[str, Any]], why: str) -> tuple[str, int]:
    """A lock in words, and its exit code."""
    unknown = [one["name"] for one in found if "skip_reason" in one]
    if len(unknown) == len(found):
        why = why or "the index that was asked tells nothing of vulnerabilities"
        return f"{name}: not checked ({why})", UNCHECKED
    bad = [
        f"{name}: {one['name']} {one['version']}: {vulnerability['id']}"
        + (f", mended in {', '.join(vulnerability['fix_versions'])}" if vulnerability["fix_versions"] else "")
        for one in found
        for vulnerability in one.get("vulns", ())
    ]
    if bad:
        return "\n".join(bad), FOUND
    if unknown:
        return f"{name}: not checked in part: {', '.join(unknown)}", UNCHECKED
    return f"{name}: no known vulnerability in {len(found)} distributions", 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--must", action="store_true", help="what is not checked is a failure, too")
    parser.add_argument("locks", nargs="*", type=Path, default=sorted(FOLDER.glob("runtime-cpu-*.txt")))
    given = parser.parse_args()
    codes = set()
    for lock in given.locks:
        line, code = told(lock.name, *ask(lock))
        print(line)
        codes.add(code)
    if FOUND in codes:
        return FOUND
    return UNCHECKED if given.must and UNCHECKED in codes else 0


if __name__ == "__main__":
    sys.exit(main())
