"""Words for people: counted nouns, sizes, durations, file names as text."""

from __future__ import annotations

import os
import re
from pathlib import Path

MB = 1 << 20
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def counted(n: int, noun: str, plural: str = "") -> str:
    """``1 view``, ``8 views``, ``0 views``; numbers above 9,999 with commas."""
    number = f"{n:,}" if n > 9999 else str(n)
    return f"{number} {noun if n == 1 else plural or noun + 's'}"


def megabytes(n_bytes: int) -> str:
    """A size in MiB: whole ones from 10 on, one digit more below, and never 0 for something."""
    if n_bytes >= 10 * MB or n_bytes == 0:
        return f"{n_bytes / MB:.0f} MB"
    return f"{n_bytes / MB:.1f} MB" if n_bytes >= MB / 10 else "under 0.1 MB"


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def file_text(path: Path | str) -> str:
    """A file name, or path, as text: read as UTF-8 even where this process was told to know ASCII only.

    Bytes that are no UTF-8 stand as ``\\xfc``, so that what comes out can be written anywhere.
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def printable(text: str) -> str:
    """One line of a text as a terminal, a log, a picture or a page may show it: signs that move the cursor, change
    colours, break the line or turn the direction of writing stand as ``\\x1b``, ``\\n`` or ``\\u202e``."""
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode("ascii"), text)


def path_of(text: str) -> Path:
    """The path that a text file names, on this file system: the inverse of :func:`file_text`."""
    return Path(os.fsdecode(text.encode("utf-8")))
