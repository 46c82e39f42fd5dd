"""What messages say beside the fault: another library's error in one line, without the folders it may name, and
names that are like the one that is not there."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bleep_cli.base.text import printable

FOLDERS = re.compile(r"(?<![\w./])(?:[A-Za-z]:)?[/\\](?:[^/\\'\"\n]+[/\\])+")
LACKS_MEMORY = re.compile(
    r"bad_alloc|bad allocation|failed to map segment|can't start new thread|Cannot allocate memory"
)
MOST_HINTS = 10  # names that are looked up for one message


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters of it, or its class where it has none."""
    line = without_folders((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]
    return printable(line.encode("utf-8", "backslashreplace").decode("utf-8"))


def without_folders(text: str) -> str:
    """A text with every whole path in it cut to its last name: folders may say who a patient is."""
    return FOLDERS.sub("", text)


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory, in a library's words or in those of the system."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, MemoryError) or LACKS_MEMORY.search(str(error)) is not None


def came_of(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it was raised from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__


def reason(error: BaseException) -> str:
    """An error of whatever class in one line: of a file its name and the system's words, else class and text."""
    if lacks_memory(error):
        return "there is not enough memory"
    if isinstance(error, OSError) and error.strerror:
        return (
            printable(f"{Path(str(error.filename)).name}: {error.strerror}") if error.filename else error.strerror
        )
    text = first_line(error)
    return text if text == type(error).__name__ else f"{type(error).__name__}: {text}"


def told(error: BaseException) -> str:
    """What another library says of a file's content in one line, without folders: its text, or the system's."""
    if lacks_memory(error):
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
