"""Slides called by their hashes, and the names that must not be told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.hidden import Hidden
from bleep_cli.base.text import file_text
from bleep_cli.batch.entries import Entry
from bleep_cli.errors import SlideError
from bleep_cli.outputs.anonymous import OF_FILES, alias, names_of
from bleep_cli.slide.series import slide_in


def without_names(entries: Sequence[Entry], hidden: Mapping[str, str]) -> tuple[list[Entry], Hidden]:
    """The slides, each called by its hash, and all names that they and their options have, besides those of
    ``hidden`` (names, and what stands for each). One that cannot be read is called by its place.

    Every slide is read once for it.
    """
    names, called = dict(hidden), []
    for number, entry in enumerate(entries, 1):
        name = _called(entry.slide, number)
        called.append(replace(entry, name=name))
        files = {option: entry.options.get(option) for option in OF_FILES}
        names |= {file_text(path.name): f"the {OF_FILES[option]}" for option, path in files.items() if path}
        names |= dict.fromkeys(names_of(entry.slide), name) | ({entry.name: name} if entry.name else {})
    return called, Hidden(names)


def _called(slide: Path, number: int) -> str:
    try:
        return alias("slide", file_sha256(slide_in(slide) if slide.is_dir() else slide))
    except (OSError, SlideError):
        return f"slide-{number}"
