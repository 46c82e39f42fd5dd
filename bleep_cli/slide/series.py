"""The files of one DICOM series, which are one slide: a level, the label and the macro each have a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bleep_cli.errors import SlideError

PREAMBLE = 128
HEAD_BYTES = 1 << 18  # the series is named among the first elements, long before any pixel
SERIES_UID = 0x0020, 0x000E
LONG_FORM = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
ITEM, ITEM_END, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
UNDEFINED = 0xFFFFFFFF


def series_of(path: Path) -> str | None:
    """The series that a DICOM file belongs to, by its unique id; None for a file of another format."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return None
    if head[PREAMBLE : PREAMBLE + 4] != b"DICM":
        return None
    value = next((value for tag, value in _elements(head) if tag == SERIES_UID), b"")
    return value.rstrip(b"\0 ").decode("ascii", "replace") or None


def _elements(head: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """(tag, value) of the outermost elements of an explicit little-endian file, as far as ``head`` reaches."""
    at, depth = PREAMBLE + 4, 0
    while at + 8 <= len(head):
        tag = int.from_bytes(head[at : at + 2], "little"), int.from_bytes(head[at + 2 : at + 4], "little")
        if tag in (ITEM, ITEM_END, SEQUENCE_END):
            depth -= tag == SEQUENCE_END
            at += 8  # what an item holds comes next
            continue
        long = head[at + 4 : at + 6] in LONG_FORM
        start = at + (12 if long else 8)
        size = int.from_bytes(head[at + 8 : start] if long else head[at + 6 : start], "little")
        if size == UNDEFINED:
            depth, at = depth + 1, start
            continue
        at = start + size
        if depth == 0:
            yield tag, head[start:at]


def same_slide(paths: Sequence[Path]) -> list[tuple[Path, ...]]:
    """The files put together that are one slide, in the order of each one's first.

    Those of one DICOM series in one folder are, and any of them opens it. Every other file is a slide by itself.
    """
    together: dict[tuple[object, ...], list[Path]] = {}
    for place, path in enumerate(paths):
        series = series_of(path) if path.is_file() else None
        key = (place,) if series is None else (path.resolve().parent, series)
        together.setdefault(key, []).append(path)
    return [tuple(files) for files in together.values()]


def slide_in(folder: Path) -> Path:
    """The file by which a folder of one DICOM series is opened, its first. SlideError for another folder."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    series = {path: series_of(path) for path in files}
    known = {uid for uid in series.values() if uid is not None}
    if len(known) == 1:
        return next(path for path in files if series[path] is not None)
    if known:
        raise SlideError(f"{folder.name}: holds {len(known)} DICOM series; name a file of the one that is meant")
    raise SlideError(f"{folder.name}: is not a file; name the slide's file itself")
