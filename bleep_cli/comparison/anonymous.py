"""A comparison without names: slides are called by their hashes, patients by numbers in the table's order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from bleep_cli.base.hidden import Hidden
from bleep_cli.comparison.groups_file import Member
from bleep_cli.comparison.measure import Source
from bleep_cli.outputs.anonymous import alias, hidden_finding, names_of


def without_names(
    sources: Sequence[Source], members: Sequence[Member], rows: Sequence[Member], files: Iterable[Path]
) -> tuple[list[Source], list[Member], Hidden]:
    """``sources`` and ``members`` with other names, and all that faults must not tell: these names, those in the
    ``rows`` of the table, and those of ``files``."""
    called, patients = _slides(sources), _numbered(member.patient for member in members)
    names = {name: "a file" for file in files for name in names_of(file)}
    names |= {row.slide: "a slide" for row in rows} | {row.patient: "a patient" for row in rows} | patients
    names |= {name: called[source.slide] for source in sources for name in (*source.names, source.path.name)}
    hidden = Hidden(names)
    renamed = [
        replace(
            source,
            slide=called[source.slide],
            findings=tuple(hidden_finding(found, hidden) for found in source.findings),
        )
        for source in sources
    ]
    table = [replace(member, slide=called[member.slide], patient=patients[member.patient]) for member in members]
    return renamed, table, hidden


def _slides(sources: Sequence[Source]) -> dict[str, str]:
    """What stands for each; further ones of the same file, or without a stated hash, are numbered."""
    called: dict[str, str] = {}
    alike: Counter[str] = Counter()
    for slide, sha256 in {source.slide: source.slide_sha256 for source in sources}.items():
        name = alias("slide", sha256)
        alike[name] += 1
        called[slide] = name if alike[name] == 1 else f"{name}-{alike[name]}"
    return called


def _numbered(patients: Iterable[str]) -> dict[str, str]:
    return {patient: f"patient-{number}" for number, patient in enumerate(dict.fromkeys(patients), 1)}
