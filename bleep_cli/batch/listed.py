"""What the words of a command line stand for: slides, folders with slides in them, patterns such as ``*.svs``."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from bleep_cli.base.text import counted, file_text
from bleep_cli.batch.entries import Entry
from bleep_cli.errors import UsageError
from bleep_cli.outputs.picture import PICTURE_SUFFIX
from bleep_cli.slide.endings import ENDINGS, PICTURES, SERIES, SLIDES, ending
from bleep_cli.slide.series import same_slide, series_of

SHOWN = 50  # slides of a list that are named


def list_slides(given: Sequence[Path]) -> tuple[list[Entry], list[str]]:
    """The slides that are meant, in order, and what to tell of those that were not named themselves.

    A folder stands for the slides in it, a pattern for what it matches. The files of one DICOM series are one
    slide, and so is a folder that holds them. Pictures (PNG, JPEG, ...) beside slides of other formats are left
    out: scanners keep labels and thumbnails, and people their masks, in that form. Raises ``UsageError`` for a
    folder or pattern without slides.
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
    once = _once(slides)
    if len(once) < len(slides):
        lines.append(f"{counted(len(slides) - len(once), 'further file')} of the same DICOM series")
    return [Entry(slide) for slide in once], lines


def _in_folder(folder: Path) -> tuple[list[Path], str]:
    files = [path for path in _visible(folder) if path.is_file() and not _is_dicom(path)]
    deeper = [series for path in _visible(folder) if path.is_dir() for series in _dicom_in(path)]
    found, note = _without_pictures([*files, *_dicom_in(folder), *deeper])
    if not found:
        below = next((file for file in folder.rglob("*") if ending(file.name) in SLIDES), None)
        hint = f"; those of its folders are '**/*{ending(below.name)}' in quotes" if below else ""
        raise UsageError(f"{file_text(folder.name) or 'the folder'} holds no slides{hint}")
    return found, note


def _matching(pattern: Path) -> tuple[list[Path], str]:
    matched = [Path(name) for name in sorted(glob.iglob(str(pattern), recursive=True))]  # noqa: PTH207 - absolute
    folders = [series for path in matched if path.is_dir() for series in _dicom_in(path)]
    found, note = _without_pictures([*_once([path for path in matched if path.is_file()]), *folders])
    if not found:
        raise UsageError(f"{file_text(pattern.name)} matches no slide")
    return found, note


def _without_pictures(paths: Iterable[Path]) -> tuple[list[Path], str]:
    """Slides among the paths; pictures only where there are no others."""
    slides, pictures = [], []
    for path in sorted(paths):
        if ending(path.name) in PICTURES and path.is_file():
            pictures += [] if path.name.endswith(PICTURE_SUFFIX) else [path]
        elif path.is_dir() or ending(path.name) in SLIDES or _is_dicom(path):
            slides.append(path)
    if not slides or not pictures:
        return slides or pictures, ""
    return slides, f"; left out beside them: {counted(len(pictures), 'picture')} ({_names(pictures)})"


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _is_dicom(path: Path) -> bool:
    """Whether a file may be one of several of a slide; a name without a known ending does not say it."""
    if ending(path.name) in ENDINGS:
        return ending(path.name) in SERIES
    return path.is_file() and series_of(path) is not None


def _dicom_in(folder: Path) -> list[Path]:
    """The folder, where it holds the files of one DICOM series, or the first file of each of several."""
    series = same_slide([path for path in _visible(folder) if _is_dicom(path)])
    return [folder] if len(series) == 1 else [files[0] for files in series]


def _once(paths: Sequence[Path]) -> list[Path]:
    """The paths without the further files of a series whose first is among them."""
    series = same_slide([path for path in paths if _is_dicom(path)])
    further = {path for files in series for path in files[1:]}
    return [path for path in paths if path not in further]


def _told(found: Sequence[Path], note: str) -> str:
    return f"{counted(len(found), 'slide')}: {_names(found)}{note}"


def _names(paths: Sequence[Path]) -> str:
    more = f" and {len(paths) - SHOWN} more" if len(paths) > SHOWN else ""
    return ", ".join(file_text(path.name) for path in paths[:SHOWN]) + more
