"""The table of groups: which slide is whose, and in which group.

A text file with a header, columns slide, patient, group, and ``region`` where a row is of one region of its slide.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bleep_cli.base.files.text_table import read_text_table
from bleep_cli.base.hidden import Hidden
from bleep_cli.base.reasons import did_you_mean, reason
from bleep_cli.base.text import file_text
from bleep_cli.errors import UsageError, option

NEEDED = ("slide", "patient", "group")
COLUMNS = (*NEEDED, "region")


@dataclass(frozen=True)
class Member:
    """A row: a slide, or a region of it, in a group."""

    slide: str
    patient: str
    group: str
    region: str = ""
    """Empty for the whole slide."""


def read_groups(path: Path, *, anonymise: bool = False) -> list[Member]:
    """The rows of a table, in its order.

    ``UsageError`` for what is no such table, and for all rows that cannot be, a line each; with ``anonymise``
    without the names of slides and patients.
    """
    name = file_text(path.name)
    if not path.is_file():
        raise UsageError(f"{option('groups')} {name}: no such file")
    try:
        table = read_text_table(path)
        frame = table.frame()
    except (ValueError, OSError) as error:
        raise UsageError(f"{option('groups')} {name} cannot be read ({reason(error)})") from error
    header = [column.strip().lower() for column in table.header]
    unknown = [column for column in header if column not in COLUMNS]
    faults = [f"{name}: has no column {column}" for column in NEEDED if column not in header]
    faults += [f"{name}: column {column or '(no name)'} is not known" for column in unknown]
    faults += [f"{name}: has the column {column} twice" for column in COLUMNS if header.count(column) > 1]
    if faults:
        raise UsageError("\n".join(faults))
    rows = [{column: row[place].strip() for place, column in enumerate(header)} for row in frame.to_numpy()]
    faults = [
        f"{name}, row {number}: {column} is empty"
        for number, row in enumerate(rows, 1)
        for column in header
        if not row[column]
    ]
    members = [Member(**row) for row in rows]
    faults += _contradictions(members, name)
    if not members:
        faults.append(f"{name}: holds no slide below its header")
    if faults:
        hidden = Hidden({cell: "a name" for m in members for cell in (m.slide, m.patient)} if anonymise else {})
        raise UsageError("\n".join(map(hidden.text, faults)))
    return members


def named(members: Sequence[Member], names: Mapping[str, str]) -> tuple[list[Member], list[str]]:
    """Rows with the slide's own name in place of what the table calls it, and what does not match.

    ``names`` maps every name that a slide goes by to its own.
    """
    faults = [
        f"{slide}: the table of groups names it, but there is no result of it{did_you_mean(slide, names)}"
        for slide in dict.fromkeys(member.slide for member in members)
        if slide not in names
    ]
    found = [
        Member(names[member.slide], member.patient, member.group, member.region)
        for member in members
        if member.slide in names
    ]
    told = {member.slide for member in found}
    faults += [
        f"{slide}: there is a result of it, but the table of groups does not name it"
        for slide in dict.fromkeys(names.values())
        if slide not in told
    ]
    return found, faults + list(_contradictions(found, "the table of groups"))


def _contradictions(members: Sequence[Member], name: str) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for member in members:
        if (member.slide, member.region) in seen:
            yield f"{name}: {' '.join((member.slide, member.region)).strip()} stands in it twice"
        seen.add((member.slide, member.region))
        patients[member.slide].add(member.patient)
    for slide, of in patients.items():
        if len(of) > 1:
            yield f"{name}: {slide} is of several patients: {', '.join(sorted(of))}"
