"""What the words of a command line stand for: slides, folders with slides in them, patterns such as ``*.svs``."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from bleep_cli.base.text import counted, file_text
from bleep_cli.batch.entries import Entry
from bleep_cli.errors import UsageError
from bleep_cli.outputs.picture import PICTURE_SUFFIX
from bleep_cli.slide.endings import PICTURES, SERIES, SLIDES, ending

SHOWN = 50  # slides of a list that are named


def list_slides(given: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """The slides that are meant, in order, and what to tell of those that were not named themselves.

    A folder stands for the slides in it, a pattern for what it matches; a folder of one DICOM series is a slide.
    Pictures (PNG, JPEG, ...) beside slides of other formats are left out: scanners keep labels and thumbnails, and
    people their masks, in that form. Raises ``UsageError`` for a folder or pattern without slides.
    """
    slides: list[Path] = []
    lines: list[str] = []
    for path in given:
        if path.is_dir():
            found, note = _in_folder(path)
        elif not path.exists() and glob.has_magic(str(path)):
            found, note = _matching(path)
        else:
            slides.append(path)
            continue
        slides += found
        lines.append(_told(found, note))
    return [Entry(slide) for slide in slides], lines


def _in_folder(folder: Path) -> tuple[list[Path], str]:
    inside = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    if any(ending(file.name) in SERIES and file.is_file() for file in inside):
        return [folder], ""
    series = [entry for entry in inside if entry.is_dir() and _is_series(entry)]
    found, note = _without_pictures([*(entry for entry in inside if entry.is_file()), *series])
    if not found:
        deeper = next((file for file in _below(folder) if ending(file.name) in SLIDES), None)
        hint = f"; those of its folders are '**/*{ending(deeper.name)}' in quotes" if deeper else ""
        raise UsageError(f"{file_text(folder.name) or 'the folder'} holds no slides{hint}")
    return found, note


def _matching(pattern: Path) -> tuple[list[Path], str]:
    matched = [Path(name) for name in sorted(glob.iglob(str(pattern), recursive=True))]  # noqa: PTH207 - absolute, too
    folders = [path for path in matched if path.is_dir() and _is_series(path)]
    found, note = _without_pictures([*(path for path in matched if path.is_file()), *folders])
    if not found:
        raise UsageError(f"{file_text(pattern.name)} matches no slide")
    return found, note


def _without_pictures(paths: Iterable[Path]) -> tuple[list[Path], str]:
    """Slides among the paths; pictures only where there are no others."""
    slides, pictures = [], []
    for path in sorted(paths):
        if path.is_dir() or ending(path.name) in SLIDES:
            slides.append(path)
        elif ending(path.name) in PICTURES and not path.name.endswith(PICTURE_SUFFIX):
            pictures.append(path)
    if not slides or not pictures:
        return slides or pictures, ""
    return slides, f"; left out beside them: {counted(len(pictures), 'picture')} ({_names(pictures)})"


def _is_series(folder: Path) -> bool:
    return any(ending(file.name) in SERIES for file in folder.iterdir())


def _below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _told(found: Sequence[Path], note: str) -> str:
    return f"{counted(len(found), 'slide')}: {_names(found)}{note}"


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(file_text(path.name) for path in paths[:SHOWN]) + more
