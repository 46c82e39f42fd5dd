"""A table of slides: a row each, with the options that are its own.

A text file with a header, its columns separated by commas, semicolons or tabs, in an encoding of Unicode's or
Windows'::

    slide;name;mpp;mask
    A/scan.svs;patient-a;0,2527;A/outline.geojson
    B/scan.svs;patient-b;;

``slide`` is needed. Paths are relative to the table's folder. An empty cell leaves the option as it is for all
slides. What is wrong is told of all rows at once.
"""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from bleep_cli.base.files.text_table import read_text
from bleep_cli.base.reasons import did_you_mean, reason
from bleep_cli.base.text import file_text, path_of
from bleep_cli.batch.entries import Entry
from bleep_cli.choices import Plane
from bleep_cli.errors import UsageError, joined, option

SEPARATORS = ",;\t"
Cell = Callable[[str, Path, bool], Any]
"""What a cell says: its text, the table's folder, whether numbers may have a decimal comma. ``ValueError``."""


def read_table(path: Path) -> list[Entry]:
    """The slides of a table, in its order; at least one.

    Raises ``UsageError`` for a file that is no such table, for columns that are not known, and for cells that
    cannot be, a line each.
    """
    name = file_text(path.name)
    rows = _rows(path, name)
    header = [column.strip().lower() for column in rows[0][1]]
    while header and not header[-1]:  # spreadsheets add columns without a name
        header.pop()
    _check_header(header, name)
    comma = rows[0][2] == ";"
    entries, problems = [], []
    for line, cells, _ in rows[1:]:
        where = f"{name}, row {line}"
        if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
            problems.append(f"{where}: {len(cells)} cells under {len(header)} columns")
            continue
        given = {column: cell.strip() for column, cell in zip(header, cells, strict=False) if cell.strip()}
        if "slide" not in given:
            problems.append(f"{where}: names no slide")
            continue
        values = {}
        for column, text in given.items():
            try:
                values[column] = COLUMNS[column](text, path.parent, comma)
            except ValueError as error:
                problems.append(f"{where}: {column} {error}")
        if values.keys() == given.keys():
            entries.append(Entry(values.pop("slide"), values.pop("name", ""), values, where))
    if problems:
        raise UsageError(joined(problems))
    if not entries:
        raise UsageError(f"{name}: holds no slide below its header")
    return entries


def _rows(path: Path, name: str) -> list[tuple[int, list[str], str]]:
    """(line, cells, separator) of every row that holds anything, the header first."""
    if not path.is_file():
        raise UsageError(f"{option('slides')} {name}: no such file")
    try:
        text, _ = read_text(path)
    except ValueError as error:
        raise UsageError(f"{name}: is no table of slides ({error})") from error
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({reason(error)})") from error
    lines = [line for line in text.splitlines() if line.strip()]
    stated = re.fullmatch(r"sep=(.)", lines[0].strip(), re.IGNORECASE) if lines else None  # Excel's own line
    separator = stated[1] if stated else max(SEPARATORS, key=(lines or [""])[0].count)  # comma where none is there
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        rows = [(reader.line_num, cells, separator) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise UsageError(f"{name}: is no table ({error})") from error
    rows = rows[1:] if stated else rows
    if not rows:
        raise UsageError(f"{name}: is empty; {_FORM}")
    return rows


def _check_header(header: Sequence[str], name: str) -> None:
    unknown = [column for column in header if column not in COLUMNS]
    if "slide" not in header:
        raise UsageError(f"{name}: has no column slide; {_FORM}")
    if unknown:
        hint = did_you_mean(unknown[0], COLUMNS)
        shown = ", ".join(column or "(without a name)" for column in unknown)
        raise UsageError(f"{name}: column {shown} is not known{hint}; {_FORM}")
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise UsageError(f"{name}: has the column {', '.join(twice)} twice")


# --- cells


def _file(text: str, folder: Path, _comma: bool) -> Path:
    path = folder / path_of(text)
    if "\\" in text and os.sep == "/" and not path.exists():  # a table that was written on Windows
        return folder / path_of(text.replace("\\", "/"))
    return path


def _text(text: str, _folder: Path, _comma: bool) -> str:
    return text


def _names(text: str, _folder: Path, _comma: bool) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _plane(text: str, _folder: Path, _comma: bool) -> str:
    if text not in get_args(Plane):
        raise ValueError(f"{text} is none of {', '.join(get_args(Plane))}")
    return text


def _number(text: str, _folder: Path, comma: bool) -> float:
    try:
        value = float(text.replace(",", ".") if comma else text)
    except ValueError:
        raise ValueError(f"{text} is not a number") from None
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


COLUMNS: Mapping[str, Cell] = MappingProxyType(
    {
        "slide": _file,
        "name": _text,
        "mpp": _number,
        "mask": _file,
        "at": _file,
        "scene": _text,
        "origin": _plane,
        "mask_class": _names,
        "exclude_donor": _names,
        "exclude_section": _names,
        "stride_um": _number,
        "min_tissue": _number,
    }
)
"""Every column, by its name; but for the first two they are options of the same names."""

_FORM = f"columns are {', '.join(COLUMNS)}"
