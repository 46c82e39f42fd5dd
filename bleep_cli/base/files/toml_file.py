"""TOML files as people write them: with a byte order mark, in any encoding of Unicode, with Windows' paths."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from bleep_cli.base.files.text_table import read_text

PATHS = "write paths with / or in 'single quotes'"
"""What mends a path with backslashes, which in double quotes begin a special character."""
PLACE = re.compile(r"\(at line (\d+), column \d+\)")
TYPOGRAPHIC = re.compile("[“”„‘’«»]")


def read_toml(path: Path) -> dict[str, Any]:
    """What a TOML file says. Raises ``OSError``, and ``ValueError`` that says what mends the file."""
    text, _ = read_text(path)
    if not text and path.stat().st_size:
        raise ValueError("it holds nothing but a byte order mark")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        place = PLACE.search(str(error))
        line = text.splitlines()[int(place[1]) - 1] if place else text.rstrip().rpartition("\n")[2]
        raise ValueError(f"{error}{_mend(str(error), line)}") from error


def _mend(told: str, line: str) -> str:
    if "overwrite a value" in told:
        return f": {line.partition('=')[0].strip()} stands there twice"
    if "\\" in line and '"' in line:
        return f": {PATHS}"
    if TYPOGRAPHIC.search(line):
        return ': write plain quotes, ", not typographic ones'
    return ""


def has_control(text: str) -> bool:
    """Whether a text holds characters that nobody writes into a name or a path, as ``"C:\\temp"`` makes a tab."""
    return any(ord(sign) < 32 or ord(sign) == 127 for sign in text)
