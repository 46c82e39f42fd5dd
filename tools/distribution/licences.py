"""The tables of docs/third-party.md, from the metadata of what is installed: ``make licences``.

The runtime with everything it pulls in, then what each extra asks for by itself. Names, licences and places only:
no versions, which would be wrong at the next release of anybody. What metadata do not say stands above the tables,
by hand, and stays as it is.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "third-party.md"
BEGIN = "<!-- From here on written by make licences. -->\n"
EXTRAS = ("cpu", "build", "hnsw", "cluster", "train", "timm", "tensorboard")
UNKNOWN = "not stated"
LONGEST = 60  # characters; a longer field is the licence itself, not its name
PLACES = ("source", "source code", "repository", "homepage", "home-page")


@dataclass(frozen=True)
class Entry:
    """A distribution's ``name``, its ``licence`` in words or as an SPDX expression, and ``place``, its address."""

    name: str
    licence: str
    place: str

    def row(self) -> str:
        return f"| {self.name} | {self.licence} | {self.place} |"


def project() -> tuple[str, dict[str, list[str]]]:
    """The project's own name, and its requirements by extra; those of the runtime under ""."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return stated["name"], {"": stated["dependencies"], **stated["optional-dependencies"]}


def asked(extra: str = "") -> list[Requirement]:
    """What the runtime, or an extra, asks for by itself; one extra of ours may include another."""
    own, requirements = project()
    found: list[Requirement] = []
    for requirement in map(Requirement, requirements[extra]):
        ours = canonicalize_name(requirement.name) == canonicalize_name(own)
        found += [r for inner in sorted(requirement.extras) for r in asked(inner)] if ours else [requirement]
    return found


def direct(extra: str = "") -> list[str]:
    """The names of what :func:`asked` finds."""
    return sorted({canonicalize_name(requirement.name) for requirement in asked(extra)})


def closure(names: Sequence[str]) -> list[str]:
    """The names and all that these pull in here. ``PackageNotFoundError`` for one that is not installed."""
    seen: dict[str, set[str]] = {}
    waiting = [(name, set[str]()) for name in names]
    while waiting:
        name, extras = waiting.pop()
        if name in seen and extras <= seen[name]:
            continue
        seen[name] = seen.get(name, set()) | extras
        waiting += [(canonicalize_name(r.name), set(r.extras)) for r in _needed(distribution(name), seen[name])]
    return sorted(seen)


def _needed(found: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for requirement in map(Requirement, found.requires or ()):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield requirement


def licence_of(found: Distribution) -> str:
    """License-Expression, else the classifiers' words, else a License field that is a name and no text."""
    expression = _field(found, "License-Expression")
    if expression:
        return expression
    classified = [c.split(" :: ")[2:] for c in _fields(found, "Classifier") if c.startswith("License ::")]
    words = [parts[-1] for parts in classified if parts]
    if words:
        return ", ".join(words)
    first = _field(found, "License").strip().partition("\n")[0].strip()
    return first if first and first != "UNKNOWN" and len(first) <= LONGEST else UNKNOWN


def place_of(found: Distribution) -> str:
    """Where its source is, or its home page, as it says itself."""
    labelled = [url.partition(", ") for url in _fields(found, "Project-URL")]
    by_label = {label.strip().lower(): url.strip() for label, _, url in reversed(labelled)}
    chosen = next((by_label[label] for label in PLACES if label in by_label), None)
    return chosen or _field(found, "Home-page") or next(iter(by_label.values()), "")


def _fields(found: Distribution, name: str) -> list[str]:
    return [str(value) for value in found.metadata.get_all(name) or ()]


def _field(found: Distribution, name: str) -> str:
    return next(iter(_fields(found, name)), "")


def entry(name: str) -> Entry:
    """What the installed distribution of that name says of itself."""
    found = distribution(name)
    return Entry(_field(found, "Name"), licence_of(found), place_of(found))


def table(title: str, names: Sequence[str]) -> str:
    """A heading and a row per name, as Markdown."""
    rows = [entry(name).row() for name in names]
    return "\n".join(
        [f"## {title}", "", "| package | licence | source or home page |", "| --- | --- | --- |", *rows, ""]
    )


def tables() -> str:
    """All that stands below ``BEGIN``."""
    parts = [table("The runtime and all it pulls in", closure(direct()))]
    parts += [table(f"Extra `{extra}`, what it asks for by itself", direct(extra)) for extra in EXTRAS]
    return "\n".join(parts)


def main() -> None:
    above, begin, _ = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    if not begin:
        sys.exit(f"{PAGE.name}: the line {BEGIN.strip()!r} is missing, below which the tables go")
    try:
        below = tables()
    except PackageNotFoundError as error:
        sys.exit(f"{error}: install everything first, as make test does")
    PAGE.write_text(f"{above}{begin}\n{below}", encoding="utf-8")


if __name__ == "__main__":
    main()
