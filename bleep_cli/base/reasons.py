"""What messages say beside the fault: another library's error in one line, without the folders it may name, and
names that are like the one that is not there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters of it, or its class where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def reason(error: BaseException) -> str:
    """An error of whatever class in one line: of a file its name and the system's words, else class and text."""
    if isinstance(error, OSError) and error.strerror:
        return f"{Path(str(error.filename)).name}: {error.strerror}" if error.filename else error.strerror
    text = first_line(error)
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What to add to the message about a name that is not there: up to three of the known names that are most like
    it, letter case apart; empty where none is."""
    by_lower: dict[str, str] = {}
    for other in known:
        by_lower.setdefault(other.lower(), other)
    close = [by_lower[lower] for lower in difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)]
    return f"; did you mean {', '.join(close)}?" if close else ""
