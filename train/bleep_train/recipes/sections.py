"""A recipe's sections, read from a folder that holds their files, and what a person is shown of recipes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.cohort.cohort_file import TEXTS
from bleep_cli.cohort.pitch import neighbour_distance
from bleep_cli.cohort.place import on_picture
from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import F64, Progress, Section, no_progress
from bleep_train.recipes.folder import Checked, in_place, require_all
from bleep_train.recipes.manifest import Manifest


@dataclass(frozen=True)
class Ingredients:
    """What a recipe's reference is built of."""

    sections: tuple[Section, ...]
    """In the manifest's order, with their pixel sizes."""
    entries: tuple[dict[str, Any], ...]
    """Their tables in a cohort file, with absolute paths."""
    notes: tuple[str, ...]
    """What was computed or accepted, a sentence each."""


def gather(
    manifest: Manifest,
    folder: Path,
    checked: Checked,
    *,
    only: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> Ingredients:
    """Reads the sections, all of them or ``only`` those ids, from a folder that holds their files.

    Raises ``UsageError`` for files that are not there, ``ReferenceError`` for files that are broken or not the
    manifest's, ``OutputError`` where something has to be unpacked and cannot be.
    """
    chosen = manifest.chosen(only)
    require_all(manifest, only, folder)
    sections, entries, notes = [], [], []
    for i, entry in enumerate(chosen):
        progress("sections", i, len(chosen))
        settled = in_place(manifest, entry, folder, checked)
        section = read_section(settled, folder)
        if section.mpp is None and manifest.build.pitch_um:
            mpp = round(mpp_of(section.xy_l0, manifest.build.pitch_um), 4)
            notes.append(f"{section.id}: {mpp} µm per pixel, from spots {manifest.build.pitch_um:g} µm apart")
            section, settled = replace(section, mpp=mpp), {**settled, "mpp": mpp}
        sections.append(on_picture(section))
        entries.append(settled)
    progress("sections", len(chosen), len(chosen))
    return Ingredients(tuple(sections), tuple(entries), (*checked.notes, *notes))


def mpp_of(xy_l0: F64, pitch_um: float) -> float:
    """µm per pixel of spots f64[n, 2] on a square or hexagonal array whose neighbours lie ``pitch_um`` apart."""
    if len(xy_l0) < 2:
        raise ReferenceError("the pixel size cannot be told from less than two spots")
    return pitch_um / neighbour_distance(xy_l0)


def write_cohort_file(
    manifest: Manifest, entries: Sequence[Mapping[str, Any]], path: Path, *, force: bool
) -> None:
    """A cohort file of the sections, which every other command takes. Raises ``OutputError``."""
    lines = [f"{name} = {_toml(getattr(manifest, name))}" for name in TEXTS]
    for entry in entries:
        lines += ["", "[[section]]", *(f"{key} = {_toml(value)}" for key, value in entry.items())]
    with atomic_path(path, force) as temp:
        temp.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _toml(value: str | float) -> str:
    return json.dumps(value, ensure_ascii=False)
