"""Tables of text as people have them: any separator, encoding and line end, comments, R's missing corner.

What can be told from the text itself is told here; what a column means is the business of whoever asks for it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bleep_cli.base.files.unpacked import Most, read_unpacked

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = ("\t", ";", ",", "|", " ")
SEPARATOR_NAMES = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars", " ": "spaces"}
SAMPLE = 20  # lines that the separator is told from
NO_TEXT = {
    b"PK\x03\x04": "an Excel workbook or another zip archive; save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save it as CSV",
    b"\x89HDF": "an HDF5 file, no table of text",
    b"PAR1": "a Parquet file, no table of text",
    b"RDX": "an object of R; write it as CSV",
    b"X\n\x00": "an object of R; write it as CSV",
    b"BZh": "compressed with bzip2; unpack it",
    b"\xfd7zXZ": "compressed with xz; unpack it",
    b"%PDF": "a PDF file",
}
TAR = slice(257, 262)  # where a tar archive says that it is one
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
WINDOWS = "cp1252"
"""What text is taken for that is no Unicode: a guess, right for western Windows and for Latin-1."""
COMMENT = re.compile(r"^#.*(?:\n|\Z)", re.MULTILINE)
NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?")
RAGGED = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")


@dataclass(frozen=True)
class TextTable:
    """A table whose first line has been taken apart from the others."""

    header: tuple[str, ...]
    """Fields of the first line, whatever they are; "" stands where R left the corner out."""
    separator: str
    """One of :data:`SEPARATORS`; a space is any run of spaces and tabs."""
    body: str
    """The lines below the first, without comments."""
    rows: tuple[tuple[str, ...], ...]
    """The first rows of the body, up to :data:`SAMPLE` less one."""
    encoding: str
    """What the file was decoded by."""

    @property
    def decimal(self) -> str:
        """ "," where numbers in the first rows have decimal commas, else "."."""
        fields = (field for row in self.rows for field in row)
        return "," if any("," in field and is_number(field) for field in fields) else "."

    @property
    def guessed_encoding(self) -> bool:
        """Whether the text is no Unicode, so that letters beyond ASCII are a guess."""
        return self.encoding == WINDOWS

    def with_header(self, header: Iterable[str]) -> TextTable:
        """The same with another header, where the first line turned out to be a row."""
        first = io.StringIO()
        separator = "\t" if self.separator == " " else self.separator
        csv.writer(first, delimiter=separator, lineterminator="\n").writerow(self.header)
        return replace(
            self, header=tuple(header), body=first.getvalue() + self.body, rows=(self.header, *self.rows)
        )

    def frame(self) -> pd.DataFrame:
        """All rows as text, columns in order under their numbers; lines without any text are left out.

        Raises ``ValueError`` where rows differ in the number of their fields.
        """
        import pandas as pd

        if not self.body.strip():
            return pd.DataFrame(columns=range(len(self.header)), dtype=str)
        try:
            table = pd.read_csv(
                self.body_bytes(),
                sep=self.pandas_separator,
                header=None,
                dtype=str,
                keep_default_na=False,
                skipinitialspace=True,
            )
        except pd.errors.ParserError as error:
            raise ValueError(ragged(error)) from error
        if table.shape[1] != len(self.header):
            raise ValueError(f"row 1 has {table.shape[1]} fields, the header {len(self.header)}")
        table = table.fillna("")
        return table[(table != "").any(axis=1)]

    def body_bytes(self) -> io.BytesIO:
        """The body for ``pandas.read_csv``; a ``StringIO`` would take four bytes for each letter."""
        return io.BytesIO(self.body.encode())

    @property
    def pandas_separator(self) -> str:
        """As ``pandas.read_csv`` takes it."""
        return r"\s+" if self.separator == " " else self.separator


def read_text_table(path: Path, most: Most = "MOST_TABLE_BYTES") -> TextTable:
    """A file taken apart.

    Raises ``ValueError`` for what is no table of text, ``OSError`` for what cannot be read.
    """
    text, encoding = read_text(path, most)
    text = text.replace("\r\n", "\n").replace("\r", "\n").lstrip("\n")
    if text.lstrip()[:1] in ("{", "["):
        raise ValueError("it is JSON, no table")
    separators: tuple[str, ...] = SEPARATORS
    if re.match(r"sep=.\n", text, re.IGNORECASE):  # Excel's own line
        separators, text = (text[4],), text[6:]
    comments = re.match(r"(?:#.*\n|\n)*", text)
    above = comments.group().rstrip("\n").rpartition("\n")[2] if comments else ""
    text = COMMENT.sub("", text).lstrip("\n")
    separator, rows = _taken_apart(text, separators)
    header, rows = rows[0], rows[1:]
    body = text.partition("\n")[2]
    width = len(rows[0]) if rows else len(header)
    if len(header) == width - 1:
        trailing = all(row[-1] == "" for row in rows)
        header = (*header, "") if trailing else ("", *header)
    table = TextTable(header, separator, body, tuple(rows), encoding)
    named = _fields([above.lstrip("# \t")], separator)[0] if above else ()
    if len(named) == len(header) and _numeric(header) and not _numeric(named):
        return table.with_header(named)  # the names stood in a comment
    return table


def read_text(path: Path, most: Most = "MOST_TABLE_BYTES") -> tuple[str, str]:
    """(text, encoding) of a file, gzip taken off, a byte order mark obeyed and taken off.

    Text without one is UTF-8, or what :data:`WINDOWS` makes of it. Raises ``ValueError`` for what is no text,
    ``OSError`` for what cannot be read.
    """
    raw = read_unpacked(path, most)
    kind = next((what for magic, what in NO_TEXT.items() if raw.startswith(magic)), None)
    if kind is None and raw[TAR] == b"ustar":
        kind = "a tar archive; unpack it"
    if kind is not None:
        raise ValueError(f"it is {kind}")
    mark = next((name for magic, name in BYTE_ORDER_MARKS.items() if raw.startswith(magic)), None)
    encoding = mark or _unmarked(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in {encoding.upper()} ({error.reason})") from error
    if "\0" in text:
        raise ValueError("it is no text")
    return text, encoding


def is_number(text: str) -> bool:
    """Whether a text reads as a number, with a decimal point or comma."""
    return NUMBER.fullmatch(text) is not None


def ragged(error: Exception) -> str:
    """What pandas says of a row with too many fields, in words that count the rows below the header."""
    found = RAGGED.search(str(error))
    return f"row {found[2]} has {found[3]} fields, row 1 has {found[1]}" if found else str(error)


def _unmarked(raw: bytes) -> str:
    """The encoding of bytes without a byte order mark."""
    low, high = raw[:400:2], raw[1:400:2]
    for encoding, zeros, letters in (("utf-16-le", high, low), ("utf-16-be", low, high)):
        if zeros.count(0) > 0.8 * len(zeros) and not letters.count(0):
            return encoding
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return WINDOWS
    return "utf-8"


def _taken_apart(text: str, separators: tuple[str, ...]) -> tuple[str, list[tuple[str, ...]]]:
    """The separator of a text, and the fields of its first lines.

    It is the one that gives as many fields in every line: the first line may have one fewer. Raises ``ValueError``
    where no separator gives two fields.
    """
    lines = []
    for line in io.StringIO(text):
        if line.strip():
            lines.append(line.rstrip("\n"))
        if len(lines) == SAMPLE:
            break
    if not lines:
        raise ValueError("it is empty")
    split = {separator: _fields(lines, separator) for separator in separators}
    even = [separator for separator, rows in split.items() if _even(rows)]
    even = [separator for separator in even if separator != " "] or even  # names may hold spaces
    candidates = even or [separator for separator, rows in split.items() if len(rows[0]) > 1]
    if not candidates:
        names = ", ".join(SEPARATOR_NAMES[separator] for separator in separators)
        raise ValueError(f"its lines are of one column, not separated by {names}: {lines[0][:60]!r}")
    best = max(candidates, key=lambda separator: (len(split[separator][0]), -separators.index(separator)))
    return best, split[best]


def _fields(lines: list[str], separator: str) -> list[tuple[str, ...]]:
    stripped = (line.strip() for line in lines) if separator == " " else iter(lines)
    spaced = (line.replace("\t", " ") for line in stripped) if separator == " " else stripped
    whole = list(spaced)
    try:
        reader = csv.reader(whole, delimiter=separator, skipinitialspace=True)
        return [tuple(field.strip() for field in row) for row in reader]
    except csv.Error:  # over 128 KiB in one field: a wide table's line, which this does not separate
        return [(line,) for line in whole]


def _even(rows: list[tuple[str, ...]]) -> bool:
    widths = {len(row) for row in rows[1:]} or {len(rows[0])}
    width = max(widths)
    return len(widths) == 1 and width > 1 and len(rows[0]) in (width, width - 1)


def _numeric(fields: Iterable[str]) -> bool:
    """Whether a number is among them."""
    return any(is_number(field) for field in fields)
