"""What is asked for of one slide of several: where it lies, what its results are called, and its own options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One slide of a list, a folder or a table."""

    slide: Path
    """A file, or the folder of a DICOM series."""
    name: str = ""
    """What its results are called; empty: the slide's file name without its endings."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of this slide alone, by the names of ``PredictOptions``; they go before those of all slides."""
    where: str = ""
    """Row of the table it stands in, as a message begins; empty where there is none."""
