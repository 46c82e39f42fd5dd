"""A prediction without the names of its files: each is replaced by a part of the file's own hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.hidden import Hidden
from bleep_cli.base.text import file_text
from bleep_cli.errors import OutputError
from bleep_cli.findings import Finding
from bleep_cli.slide.endings import slide_id
from bleep_cli.types import Prediction

OF_FILES = {"at": "positions", "mask": "mask", "sets": "sets"}
"""Options that name a file, and what it is called instead."""


def alias(what: str, sha256: str) -> str:
    """``slide-0123456789ab``: what stands for a file of that hash."""
    return f"{what}-{sha256[:12]}"


def hidden_finding(found: Finding, hidden: Hidden) -> Finding:
    """A finding without those names."""
    return replace(
        found, what=hidden.text(found.what), where=hidden.text(found.where), mend=hidden.text(found.mend)
    )


def names_of(file: Path) -> Iterator[str]:
    """How messages may call a file, or a folder with the files of one slide."""
    inside = file.iterdir() if file.is_dir() and file.suffix != ".zarr" else ()
    for path in (file, *inside):
        yield from (
            path.name,
            file_text(path.name),
            path.stem,
            slide_id(path.name),
            slide_id(file_text(path.name)),
        )


def scene_alias(scene: str) -> str:
    """What stands for a scene: itself, where it is a number or counted."""
    if scene.isdecimal() or scene.startswith("scene-"):
        return scene
    return alias("scene", hashlib.sha256(scene.encode()).hexdigest())


def anonymised(prediction: Prediction) -> Prediction:
    """The same without the names of slide, positions, mask and scene: ids of tiles, findings, provenance.

    The command line is left out of the provenance, whose options say the same. Names that the reference gives its
    own sections stay, and so do ids of a table of positions that do not hold the slide's name. ``OutputError`` for
    a result that does not state the hash of its slide.
    """
    said = prediction.provenance
    slide = said.get("slide", {})
    if not re.fullmatch("[0-9a-f]{64}", str(slide.get("sha256"))):
        raise OutputError("the result does not state the hash of its slide, by which it would be called")
    name, file = alias("slide", slide["sha256"]), str(slide.get("name", ""))
    options = anonymous_options(said.get("options", {}))
    hidden = Hidden({file: name, slide_id(file) if file else "": name, prediction.slide_id: name} | _files(said))
    findings = tuple(hidden_finding(found, hidden) for found in prediction.findings)
    own = {"command": "", "slide": {**slide, "name": name}, "options": options}
    return replace(
        prediction,
        slide_id=name,
        grid=replace(prediction.grid, tile_id=_ids(prediction, name, hidden)),
        provenance={**said, **own, "findings": hidden.value(said.get("findings", []))},
        findings=findings,
    )


def anonymous_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a result records them, without names of files and scenes."""
    out = {**options, "anonymise": True}
    for option, what in OF_FILES.items():
        if options.get(option):
            out[option] = {**options[option], "name": alias(what, options[option]["sha256"])}
    if isinstance(options.get("scene"), str):
        out["scene"] = scene_alias(options["scene"])
    return out


def _files(said: Mapping[str, Any]) -> dict[str, str]:
    """Names of the further files, and what stands for each."""
    files = {what: said.get("options", {}).get(option) for option, what in OF_FILES.items()}
    return {file["name"]: alias(what, file["sha256"]) for what, file in files.items() if file}


def _ids(prediction: Prediction, name: str, hidden: Hidden) -> np.ndarray[Any, np.dtype[np.str_]]:
    """str[n]: the slide's name at their beginning, and within them, replaced."""
    before = f"{prediction.slide_id}_"
    ids = prediction.grid.tile_id.tolist()
    return np.array(
        [f"{name}_{each[len(before) :]}" if each.startswith(before) else hidden.text(each) for each in ids],
        dtype=str,
    )
