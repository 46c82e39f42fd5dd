"""Another library's error in one line, without the folders it may name."""

from __future__ import annotations

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
