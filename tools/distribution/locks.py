"""Writes the files in ``requirements/``: the lowest tested versions, and locks with hashes.

    python locks.py lowest                  lowest-3.11.txt: the runtime's lower bounds in pyproject.toml
    python locks.py lock --python PYTHON    runtime-cpu-X.Y.txt: what that Python's pip takes for the runtime
    python locks.py lock --full             full-X.Y.txt: the same for cpu, train and dev
    python locks.py lock --docs             docs-X.Y.txt: what builds the site, without BLEEP
    python locks.py lock --supply           supply-X.Y.txt: what make sbom and make audit run, without BLEEP

A lock holds names, versions and sha256 hashes, no addresses; pip tells them without installing anything. It has to
be 23.3 or later, which does not fetch whole wheels for that. Options after ``--`` go to pip as they are.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from licences import ROOT, asked
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FOLDER = ROOT / "requirements"
RUNTIME = ("cpu", "build")
TESTED = ("cpu", "test")
FULL = ("cpu", "train", "dev")
ALONE = ("docs", "supply")
"""Extras whose tools run in an environment of their own, without BLEEP."""
LEGACY = {"manylinux1_": "5", "manylinux2010_": "12", "manylinux2014_": "17"}  # glibc 2.x of the older tags


def requirements(extras: tuple[str, ...]) -> dict[str, str]:
    """Canonical name → bounds (``"<4,>=3.1"``) of the dependencies and of these extras, by name.

    ``ValueError`` for one name with two different bounds.
    """
    found: dict[str, str] = {}
    for requirement in (one for extra in ("", *extras) for one in asked(extra)):
        name, bounds = canonicalize_name(requirement.name), str(requirement.specifier)
        if found.setdefault(name, bounds) != bounds:
            raise ValueError(f"{name} is asked for as {found[name]!r} and as {bounds!r}")
    return dict(sorted(found.items()))


def lowest() -> str:
    """The text of ``lowest-3.11.txt``: ``name==bound`` for each requirement of the runtime and its tests.

    ``ValueError`` for a requirement that states no lower bound.
    """
    pins = []
    for name, bounds in requirements(TESTED).items():
        lower = [one.version for one in SpecifierSet(bounds) if one.operator == ">="]
        if len(lower) != 1:
            raise ValueError(f"{name} states {len(lower)} lower bounds")
        pins.append(f"{name}=={lower[0]}")
    head = [
        "# The lowest versions that pyproject.toml allows, as constraints; the runtime's tests pass with them.",
        '#   pip install -e ".[cpu,test]" -c requirements/lowest-3.11.txt && pytest tests/runtime',
        "# Written by tools/distribution/locks.py lowest.",
    ]
    return "\n".join([*head, *pins]) + "\n"


@dataclass(frozen=True)
class Locked:
    """One distribution of a lock: what to install, the file that pip would take, and its sha256."""

    name: str
    version: str
    file: str
    sha256: str

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Locked:
        """From one entry of pip's report; the address stays behind."""
        info = entry["download_info"]
        file = info["url"].rsplit("/", 1)[-1]
        name, version = entry["metadata"]["name"], entry["metadata"]["version"]
        return cls(canonicalize_name(name), version, file, info["archive_info"]["hashes"]["sha256"])

    @property
    def glibc(self) -> tuple[int, int]:
        """The oldest glibc that the wheel runs on; (0, 0) where it needs none."""
        tags = [*re.findall(r"manylinux_(\d+)_(\d+)", self.file)]
        tags += [("2", minor) for tag, minor in LEGACY.items() if tag in self.file]
        return min(((int(major), int(minor)) for major, minor in tags), default=(0, 0))


def of_extras(extras: tuple[str, ...]) -> list[str]:
    """How pip is asked for the project with these extras; of tools that run without it, for these alone."""
    return [str(one) for one in asked(extras[0])] if extras[0] in ALONE else [f".[{','.join(extras)}]"]


def locked(python: str, extras: tuple[str, ...], options: list[str]) -> list[Locked]:
    """What that Python's pip would install for the project with these extras, the project itself left out.

    ``CalledProcessError`` where pip finds no versions that fit; pip has then said why on stderr.
    """
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += [*options, *of_extras(extras)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    entries = json.loads(done.stdout)["install"]
    found = [Locked.of(entry) for entry in entries if "dir_info" not in entry["download_info"]]
    return sorted(found, key=lambda one: one.name)


def lock(files: list[Locked], extras: tuple[str, ...], version: str) -> str:
    """The text of a lock, as ``pip install --require-hashes -r`` takes it."""
    major, minor = max(one.glibc for one in files)
    source = [one.name for one in files if not one.file.endswith(".whl")]
    head = [
        f"# What bleep-cli[{','.join(extras)}] needs, without itself; README.md here says how to use it.",
        f"# The hashes are of the wheels for CPython {version}, Linux x86_64, glibc {major}.{minor} or later.",
    ]
    head += [f"# Of these there is only the source: {', '.join(source)}. They need a compiler."] if source else []
    head += ["# Written by tools/distribution/locks.py lock."]
    lines = [f"{one.name}=={one.version} \\\n    --hash=sha256:{one.sha256}" for one in files]
    return "\n".join([*head, *lines]) + "\n"


def version_of(python: str) -> str:
    """``"3.12"``, say. Exits where its wheels would not be those that a lock claims to hold."""
    say = "import sys, sysconfig; print(sysconfig.get_platform(), '%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", say], capture_output=True, text=True, check=True)
    platform, version = done.stdout.split()
    if platform != "linux-x86_64":
        sys.exit(f"locks are for linux-x86_64, and this Python is for {platform}")
    return version


def main() -> None:
    """The command line; the file's first lines describe it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lowest")
    options = commands.add_parser("lock")
    options.add_argument("--python", default=sys.executable, help="whose pip to ask")
    what = options.add_mutually_exclusive_group()
    what.add_argument("--full", action="store_true", help="for training and its tests, too")
    what.add_argument("--docs", action="store_true", help="for the site alone")
    what.add_argument("--supply", action="store_true", help="for make sbom and make audit alone")
    options.add_argument("pip", nargs="*", help="after --: further options of pip install")
    given = parser.parse_args()
    if given.command == "lowest":
        path, text = FOLDER / "lowest-3.11.txt", lowest()
    else:
        extras, name = RUNTIME, "runtime-cpu"
        if given.full:
            extras, name = FULL, "full"
        for alone in ALONE:
            if getattr(given, alone):
                extras, name = (alone,), alone
        version = version_of(given.python)
        path = FOLDER / f"{name}-{version}.txt"
        text = lock(locked(given.python, extras, given.pip), extras, version)
    path.write_text(text, encoding="utf-8")
    print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
