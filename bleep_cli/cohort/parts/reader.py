"""What a reader of sections is, what it declares, and what it returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bleep_cli.base.files.toml_file import PATHS, has_control
from bleep_cli.findings import Finding
from bleep_cli.genes.features import Features
from bleep_cli.types import F64, SpotPlane, Str

if TYPE_CHECKING:
    from scipy import sparse

Entry = Mapping[str, Any]
"""A ``[[section]]`` table of a cohort file."""


def must_be_text(value: Any) -> str:
    """What is wrong with a value that has to be text; empty where nothing is."""
    if not isinstance(value, str):
        return "must be in quotes"
    return f"holds a special character, as a backslash makes it: {PATHS}" if has_control(value) else ""


@dataclass(frozen=True)
class Key:
    """A key of a ``[[section]]`` table."""

    name: str
    """As the cohort file writes it."""
    needed: bool = False
    """Whether a section cannot do without it."""
    fault: Callable[[Any], str] = must_be_text
    """What is wrong with a value, as the end of a sentence; empty where nothing is."""


POSITIONS = Key("positions", needed=True)
"""The table of positions of a file that holds counts alone."""
LIBRARY = Key("library")
"""Which of several sections of one file, by whatever tells them apart."""
EVERY = "*"
"""What it says to take all of them as one section."""


@dataclass(frozen=True)
class Source:
    """The file or folder that a section is read from."""

    entry: Entry
    """The section's table."""
    base: Path
    """The folder that its paths are relative to."""
    key: str
    """The key of the table that names the file or folder."""

    @property
    def path(self) -> Path:
        """The file or folder itself."""
        return self.file(self.key)

    def file(self, key: str) -> Path:
        """The path that a key names; its letters are UTF-8 on disk, whatever the locale makes of them."""
        return self.base / os.fsdecode(str(self.entry[key]).encode("utf-8", "surrogateescape"))


@dataclass(frozen=True)
class Counted:
    """A matrix of counts with its rows and columns named: m spots or cells, g features, nothing checked yet."""

    counts: sparse.csr_matrix
    """CSR[m, g] as they stand in the file."""
    features: Features
    """Its columns, genes or not."""
    barcodes: Str
    """str[m] names of its rows."""
    findings: tuple[Finding, ...] = ()
    """What was guessed or left out in reading."""


@dataclass(frozen=True)
class RawSection:
    """What a reader returns of a section: n spots with counts and a position, g features, nothing checked yet."""

    counts: sparse.csr_matrix
    """CSR[n, g] as they stand in the file."""
    features: Features
    """Its columns, genes or not."""
    barcodes: Str
    """str[n] names of the spots."""
    xy_l0: F64
    """f64[n, 2] (x, y) spot centres in the image's level-0 pixels."""
    findings: tuple[Finding, ...] = ()
    """What was dropped."""
    raw_counts: str = ""
    """Where the file has raw counts, if these are none: the end of a sentence."""
    plane: SpotPlane | None = None
    """What the files say of the plane of the positions; None where they say nothing but these."""


def nothing_itself(_entry: Entry, _base: Path) -> dict[str, Any]:
    """The keys of a format that says nothing but counts and positions."""
    return {}


@dataclass(frozen=True)
class Reader:
    """A format of measured sections: the keys it is named by, how it is told from others, and how it is read."""

    what: str
    """What the format is called, for messages."""
    sources: tuple[str, ...]
    """Keys that may name a file or folder of it; several formats may share one, and are told apart by content."""
    claims: Callable[[Path], bool]
    """Whether a file or folder that exists is of this format, by what it holds; never raises."""
    read: Callable[[Source], RawSection]
    """One section. Raises ``OSError``, ``ValueError``, ``KeyError`` or ``TypeError`` for files that are broken,
    ``UsageError`` or ``ReferenceError`` where the cohort file has to say something else."""
    keys: tuple[Key, ...] = ()
    """Further keys that it takes."""
    fills: tuple[str, ...] = ()
    """Keys of every section that may be left out, because the format itself says them."""
    fill: Callable[[Entry, Path], dict[str, Any]] = nothing_itself
    """What the format says of ``fills`` that an entry, in a folder, leaves out. Raises ``ReferenceError``."""
    pick: str = ""
    """The key that picks one of several sections of one file; empty where there is never more than one."""
    sections: Callable[[Path], Sequence[str]] | None = None
    """What there is to pick from in a file or folder, by name; empty where nothing has to be picked."""
    every: str = ""
    """The value of that key which takes all of them as one section; empty where none does."""
