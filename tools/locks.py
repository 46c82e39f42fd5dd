"""Writes the files in ``requirements/``: the lowest tested versions, and locks with hashes for offline installation.

    python tools/locks.py lowest                  lowest-3.11.txt: every lower bound of pyproject.toml, for the runtime
    python tools/locks.py lock --python PYTHON    runtime-cpu-X.Y.txt: what that Python's pip takes for the runtime
    python tools/locks.py lock --full             full-X.Y.txt: the same for cpu, train and dev

A lock holds names, versions and sha256 hashes, no addresses; pip tells them without installing anything. It has to
be 23.3 or later, which does not fetch whole wheels for that. Options after ``--`` go to pip as they are.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "requirements"
RUNTIME = ("cpu",)
TESTED = ("cpu", "test")
FULL = ("cpu", "train", "dev")
REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[^]]*)\])?\s*(?P<bounds>[^;]*)")


def project() -> dict[str, Any]:
    """The table ``[project]`` of pyproject.toml."""
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"])


def canonical(name: str) -> str:
    """A distribution's name as indices compare it: lower case, one hyphen for every run of ``-``, ``_`` and ``.``."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(table: dict[str, Any], extras: Iterable[str]) -> dict[str, str]:
    """Name → bounds (``">=1.2,<2"``) of the dependencies and the extras, with those that an extra names in turn.

    ``ValueError`` for one name with two different bounds.
    """
    found: dict[str, str] = {}
    for line in _lines(table, extras):
        parts = REQUIREMENT.fullmatch(line)
        assert parts is not None, line
        name, bounds = canonical(parts["name"]), parts["bounds"].strip()
        if found.setdefault(name, bounds) != bounds:
            raise ValueError(f"{name} is asked for as {found[name]!r} and as {bounds!r}")
    return dict(sorted(found.items()))


def _lines(table: dict[str, Any], extras: Iterable[str]) -> Iterator[str]:
    """The requirements of the project itself, then of each extra; ``bleep-cli[a,b]`` in one stands for its extras."""
    yield from table["dependencies"]
    waiting, seen = list(extras), set[str]()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for line in table["optional-dependencies"][extra]:
            parts = REQUIREMENT.fullmatch(line)
            if parts is not None and canonical(parts["name"]) == table["name"]:
                waiting += [name.strip() for name in parts["extras"].split(",")]
            else:
                yield line


def lowest(table: dict[str, Any]) -> str:
    """The text of ``lowest-3.11.txt``: ``name==bound`` for each requirement of the runtime and its tests.

    ``ValueError`` for a requirement that states no lower bound.
    """
    pins = []
    for name, bounds in requirements(table, TESTED).items():
        lower = re.search(r">=\s*([^,\s]+)", bounds)
        if lower is None:
            raise ValueError(f"{name} states no lower bound")
        pins.append(f"{name}=={lower[1]}")
    head = [
        "# The lowest versions that pyproject.toml allows, as constraints: the runtime and its tests pass with them.",
        '#   pip install -e ".[cpu,test]" -c requirements/lowest-3.11.txt && pytest tests/runtime -m "not slow"',
        "# Written by tools/locks.py lowest.",
    ]
    return "\n".join([*head, *pins]) + "\n"


def lock(python: str, extras: tuple[str, ...], options: list[str]) -> tuple[str, str]:
    """``(version "X.Y" of the Python, text of its lock)`` for the project with these extras.

    ``CalledProcessError`` where pip finds no versions that fit.
    """
    asked = [python, "-c", "import sys, platform; print('%d.%d' % sys.version_info[:2], platform.machine())"]
    version, machine = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run(
        [*command, *options, f".[{','.join(extras)}]"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    files = [
        Locked.of(entry)
        for entry in json.loads(done.stdout)["install"]
        if "dir_info" not in entry["download_info"]
    ]
    return version, "\n".join([])
