"""TIFF directories, read strictly: every tag's type, size and place is checked before its value is.

Only the structure is here (classic and BigTIFF, both byte orders); what the tags mean is in ``page.py`` and
``contents.py``. A general TIFF library guesses its way through broken tags; a slide that needs guessing is
refused instead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.errors import SlideError
from bleep_cli.limits import MOST_DIRECTORIES, MOST_SHORT_LIST, MOST_TAG_BYTES, MOST_TAGS, over
from bleep_cli.slide.tiff.tags import FieldType, Tag, Version
from bleep_cli.types import I64

TYPE_BYTES = {
    FieldType.BYTE: 1,
    FieldType.ASCII: 1,
    FieldType.SHORT: 2,
    FieldType.LONG: 4,
    FieldType.RATIONAL: 8,
    FieldType.SBYTE: 1,
    FieldType.UNDEFINED: 1,
    FieldType.SSHORT: 2,
    FieldType.SLONG: 4,
    FieldType.SRATIONAL: 8,
    FieldType.FLOAT: 4,
    FieldType.DOUBLE: 8,
    FieldType.IFD: 4,
    FieldType.LONG8: 8,
    FieldType.SLONG8: 8,
    FieldType.IFD8: 8,
}
UNSIGNED = {
    FieldType.BYTE: "u1",
    FieldType.SHORT: "u2",
    FieldType.LONG: "u4",
    FieldType.IFD: "u4",
    FieldType.LONG8: "u8",
    FieldType.IFD8: "u8",
}


class TiffBytes:
    """A TIFF file's bytes. Reads may come from several threads."""

    name: str
    """File name without its folders."""
    size: int
    """Bytes."""
    order: str
    """Byte order as numpy writes it, "<" or ">"."""
    big: bool
    """Whether it is a BigTIFF: offsets and counts of 8 bytes instead of 4."""
    first: int
    """Offset of the first directory in bytes."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._lock = threading.Lock()
        try:
            self._file = path.open("rb")
            self.size = path.stat().st_size
        except OSError as error:
            raise SlideError(f"{self.name}: cannot be opened: {error.strerror}") from None
        try:
            self._read_header()
        except BaseException:
            self.close()
            raise

    def _read_header(self) -> None:
        head = self.read(0, min(16, self.size))
        orders = {b"II": "<", b"MM": ">"}
        if head[:2] not in orders or len(head) < 8:
            raise self.bad("not a TIFF file")
        self.order = orders[head[:2]]
        version = self.integer(head[2:4])
        self.big = version == Version.BIG
        widths = self.integer(head[4:6]), self.integer(head[6:8])  # of offsets, and 0: only BigTIFF says so
        if version not in tuple(Version) or (self.big and widths != (8, 0)):
            raise self.bad("not a TIFF file")
        self.first = self.integer(head[8:16] if self.big else head[4:8])

    def bad(self, what: str) -> SlideError:
        """The error to raise about this file."""
        return SlideError(f"{self.name}: {what}")

    def integer(self, raw: bytes) -> int:
        """An unsigned integer in the file's byte order."""
        return int.from_bytes(raw, "little" if self.order == "<" else "big")

    def read(self, offset: int, count: int) -> bytes:
        """Exactly ``count`` bytes; SlideError where the file has them not."""
        if offset + count > self.size:
            raise self.bad("is truncated or its directory is broken (data beyond the end of the file)")
        try:
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(count)
        except OSError as error:
            raise self.bad(f"cannot be read: {error.strerror}") from None
        if len(data) != count:
            raise self.bad("became shorter while it was read")
        return data

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@dataclass(frozen=True)
class Entry:
    """Where the values of one tag stand."""

    kind: FieldType
    """How each value is stored."""
    count: int
    """How many there are."""
    offset: int
    """Where the first begins, bytes from the start of the file."""


@dataclass(frozen=True)
class Ifd:
    """One directory. Values are read when asked for."""

    file: TiffBytes
    """The file it stands in."""
    entries: Mapping[int, Entry]
    """The entry of each tag, known or not; the first where a tag occurs twice."""
    next: int
    """Offset of the next main directory in bytes; 0 after the last."""

    def ints(self, tag: Tag, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Unsigned integers of a tag; SlideError where missing (without default) or no integers."""
        if tag not in self.entries and default is not None:
            return default
        if tag in self.entries and self.entries[tag].count > MOST_SHORT_LIST:
            raise self.file.bad(over(f"TIFF tag {tag} of {self.entries[tag].count} values", "MOST_SHORT_LIST"))
        return tuple(self.array(tag).tolist())

    def one(self, tag: Tag, default: int | None = None) -> int:
        """The only integer of a tag."""
        values = self.ints(tag, None if default is None else (default,))
        if len(values) != 1:
            raise self.file.bad(f"TIFF tag {tag} holds {len(values)} values where one belongs")
        return values[0]

    def array(self, tag: Tag) -> I64:
        """``i64[n]``, n ≥ 1, of an unsigned tag."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in UNSIGNED or entry.count == 0:
            raise self.file.bad(f"TIFF tag {tag} is missing or is not an integer")
        values = np.frombuffer(self.raw(tag), self.file.order + UNSIGNED[entry.kind])
        if values.dtype.itemsize == 8 and (values >= 1 << 62).any():
            raise self.file.bad(f"TIFF tag {tag} holds absurd numbers")
        return values.astype(np.int64)

    def rational(self, tag: Tag) -> float | None:
        """First value of an unsigned rational; None where it is missing or not a positive number."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind != FieldType.RATIONAL or entry.count != 1:
            return None
        above, below = np.frombuffer(self.raw(tag), self.file.order + "u4").tolist()
        return above / below if above and below else None

    def raw(self, tag: Tag) -> bytes:
        """The bytes of a tag's values; empty where it is missing."""
        entry = self.entries.get(tag)
        if entry is None:
            return b""
        size = entry.count * TYPE_BYTES[entry.kind]
        if size > MOST_TAG_BYTES:
            raise self.file.bad(over(f"TIFF tag {tag} of {size} bytes", "MOST_TAG_BYTES"))
        return self.file.read(entry.offset, size)


def read_ifd(file: TiffBytes, offset: int) -> Ifd:
    """The directory at an offset. SlideError where it does not fit the file."""
    head, step, field = (8, 20, 8) if file.big else (2, 12, 4)
    count = file.integer(file.read(offset, head))
    if not 1 <= count <= MOST_TAGS:
        what = f"a TIFF directory of {count} entries"
        raise file.bad(over(what, "MOST_TAGS") if count else "a TIFF directory is empty")
    table = file.read(offset + head, count * step + field)
    entries: dict[int, Entry] = {}
    for at in range(0, count * step, step):
        tag, kind = file.integer(table[at : at + 2]), file.integer(table[at + 2 : at + 4])
        values = file.integer(table[at + 4 : at + 4 + field])
        if kind not in TYPE_BYTES or tag in entries:
            continue
        place = offset + head + at + 4 + field
        if values * TYPE_BYTES[FieldType(kind)] > field:
            place = file.integer(table[at + 4 + field : at + step])
        entries[tag] = Entry(FieldType(kind), values, place)
    return Ifd(file, entries, file.integer(table[-field:]))


def chain(file: TiffBytes) -> Iterator[Ifd]:
    """The main directories in order. SlideError on a loop, or on more pages than a slide has."""
    seen: set[int] = set()
    offset = file.first
    while offset:
        if offset in seen or len(seen) == MOST_DIRECTORIES:
            raise file.bad("its TIFF directories form a loop or an image stack")
        seen.add(offset)
        page = read_ifd(file, offset)
        yield page
        offset = page.next
    if not seen:
        raise file.bad("the TIFF file holds no image")
