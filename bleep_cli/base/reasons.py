"""What messages say beside the fault: another library's error in one line, without the folders it may name, and
names that are like the one that is not there."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from bleep_cli.base.text import printable

MOST_HINTS = 10  # names that are looked up for one message


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters of it, or its class where it has none."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return printable(line.encode("utf-8", "backslashreplace").decode("utf-8"))


def reason(error: BaseException) -> str:
    """An error of whatever class in one line: of a file its name and the system's words, else class and text."""
    if isinstance(error, OSError) and error.strerror:
        return (
            printable(f"{Path(str(error.filename)).name}: {error.strerror}") if error.filename else error.strerror
        )
    text = first_line(error)
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"


def told(error: BaseException) -> str:
    """What another library says of a file's content in one line, without folders: its text, or the system's."""
    if isinstance(error, MemoryError):
        return "it takes more memory than there is"
    return reason(error) if isinstance(error, OSError | KeyError) else first_line(error)


def did_you_mean(name: str | Sequence[str], known: Iterable[str]) -> str:
    """What to add to the message about a name, or several, that are not there: the known names that they are apart
    from letter case and punctuation, and of a single one, or where none is, up to three that are most like the
    first; empty where none is."""
    names = [name] if isinstance(name, str) else list(name)
    by_lower: dict[str, str] = {}
    bare: dict[str, str] = {}
    for other in known:
        by_lower.setdefault(other.lower(), other)
        bare.setdefault(_bare(other), other)
    same = [by_lower.get(each.lower()) or bare.get(_bare(each)) for each in names[:MOST_HINTS]]
    close = [found for found in same if found]
    if len(names) == 1 or not close:
        like = difflib.get_close_matches(names[0].lower(), by_lower, n=3, cutoff=0.6)
        close = [*close, *(by_lower[lower] for lower in like)][:3]
    return f"; did you mean {', '.join(dict.fromkeys(close))}?" if close else ""


def _bare(name: str) -> str:
    return re.sub(r"[\W_]", "", name.lower())
