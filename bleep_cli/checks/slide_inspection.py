"""What a slide is, and what would be read of it: all that a person needs to know before predicting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.hidden import Hidden
from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.outputs.anonymous import alias, hidden_finding, names_of, scene_alias
from bleep_cli.slide.facts import PLAIN, Facts, Scene
from bleep_cli.slide.mpp import check_mpp
from bleep_cli.slide.open import open_raster, pixel_size
from bleep_cli.slide.raster import Raster
from bleep_cli.slide.turn import WORDS

_PICTURE = re.compile(r"^(?!(?:label|macro|thumbnail|overview|page \d+) \().*(?= \(\d)")
"""What a picture that is not read is called, where the file has a name of its own for it."""


@dataclass(frozen=True)
class SlideTold:
    """What is told of a slide."""

    record: dict[str, Any]
    """JSON-able, for programs."""
    lines: list[str]
    """For a person."""
    findings: tuple[Finding, ...]
    """What is odd about it; the record has them, too."""


def inspect_slide(
    path: Path, mpp: float | None = None, scene: int | str | None = None, *, anonymise: bool = False
) -> SlideTold:
    """All of a slide but its pixels; label and macro pictures are named and not looked at.

    ``mpp`` and ``scene`` as of :func:`bleep_cli.slide.open.open_slide`; with ``anonymise`` it is called by its
    hash, and its pictures by no names of the file's own. A slide without a pixel size, or all black, is told
    of like any other. Raises ``SlideError`` for what cannot be read, ``UsageError`` for what is not there.
    """
    check_mpp(mpp)
    given = path
    path, raster = open_raster(path, scene)
    try:
        sha256 = file_sha256(path)
        size, source, odd = _pixel_size(path.name, raster.facts.chosen, mpp)
        findings = (*raster.facts.findings, *odd)
        record = _record(path.name, raster, size, source, sha256) | {"findings": [f.plain() for f in findings]}
        told = SlideTold(record, _lines(record, raster), findings)
        return _without_names(told, (given, path), raster.facts) if anonymise else told
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be read: {error.strerror}") from None
    finally:
        raster.close()


def _without_names(told: SlideTold, files: Sequence[Path], facts: Facts) -> SlideTold:
    """The same without the names of its files and scenes, and of pictures that are not read."""
    called = alias("slide", told.record["sha256"])
    names = {name: called for file in files for name in names_of(file)}
    names |= {scene.name: scene_alias(scene.name) for scene in facts.scenes}
    found = [_PICTURE.match(words) for words in facts.not_read]
    hidden = Hidden(names | {picture[0]: "a picture" for picture in found if picture})
    not_read = [_PICTURE.sub("a picture", words) for words in facts.not_read]
    lines = [hidden.text(line) for line in told.lines]
    if not_read:
        lines[-len(not_read) :] = [hidden.text(f"  not read: {words}") for words in not_read]
    record = hidden.value(told.record | {"not_read": not_read})
    return SlideTold(record, lines, tuple(hidden_finding(finding, hidden) for finding in told.findings))


def _pixel_size(
    name: str, scene: Scene, given: float | None = None
) -> tuple[float | None, str, tuple[Finding, ...]]:
    """As ``open_slide`` would take it; None with a finding where it would refuse."""
    try:
        return pixel_size(name, scene, given)
    except SlideError as error:
        said = error.text.removeprefix(f"{name}: ")
        stated = any(claim.plausible or not claim.print_like for claim in scene.claims)
        return None, "contradictory" if stated else "not stated", (Finding("mpp-unknown", said, name),)


def _record(name: str, raster: Raster, mpp: float | None, source: str, sha256: str) -> dict[str, Any]:
    facts = raster.facts
    base = raster.levels[0]
    levels = [
        {
            "width_px": level.width,
            "height_px": level.height,
            "downsample": max(level.scale),
            "tile_px": list(stored.tile) if stored.tile else None,
            "compression": stored.compression,
        }
        for level, stored in zip(raster.levels, facts.stored, strict=True)
    ]
    claims = [
        {"source": claim.source, "mpp": claim.mpp}
        for claim in facts.chosen.claims
        if claim.plausible or not claim.print_like
    ]
    return {
        "name": name,
        "format": facts.format,
        "writer": facts.writer,
        "scenes": [_scene(name, scene) for scene in facts.scenes],
        "scene": facts.scene,
        "width_px": base.width,
        "height_px": base.height,
        "levels": levels,
        "sample_type": facts.sample_type,
        "bits": facts.bits,
        "channels": facts.colours,
        "mpp": mpp,
        "mpp_source": source,
        "mpp_stated": claims,
        "objective": facts.chosen.objective,
        "bounds_l0": list(raster.bounds_l0),
        "orientation": facts.orientation,
        "not_read": list(facts.not_read),
        "sha256": sha256,
    }


def _scene(name: str, scene: Scene) -> dict[str, Any]:
    mpp, _, _ = _pixel_size(name, scene)
    return {
        "index": scene.index,
        "name": scene.name,
        "width_px": scene.size[0],
        "height_px": scene.size[1],
        "mpp": mpp,
    }


def _lines(record: dict[str, Any], raster: Raster) -> list[str]:
    facts = raster.facts
    lines = [f"{record['name']}: {_size(record)}"]
    writer = f", written by {facts.writer}" if facts.writer else ""
    lines.append(f"  format: {facts.format}{writer}")
    for scene in record["scenes"] if len(facts.scenes) > 1 else ():
        used = ", the one that is read" if scene["index"] == facts.scene else ""
        lines.append(f"  scene {facts.scenes[scene['index']]}, {_mpp(scene['mpp'])}{used}")
    for i, level in enumerate(record["levels"]):
        lines.append(
            f"  level {i}: {level['width_px']} × {level['height_px']} px, 1:{level['downsample']:.4g}"
            f"{_tiles(level)}, compression {level['compression']}"
        )
    lines.append(f"  pixels: {facts.colours}, {facts.sample_type}, {_used(facts)}")
    lines.append(f"  mpp: {_found(record)}")
    objective = facts.chosen.objective
    lines.append(f"  objective: {'not stated' if objective is None else f'{objective:g}x'}")
    lines.append("  bounds: {}, {}, {} × {} px".format(*record["bounds_l0"]))
    if facts.orientation != PLAIN:
        lines.append(f"  orientation: {facts.orientation}, {WORDS[facts.orientation]}")
    lines += [f"  not read: {words}" for words in facts.not_read]
    return lines


def _tiles(level: dict[str, Any]) -> str:
    if level["tile_px"] is None:
        return ""
    width, height = level["tile_px"]
    return f", {'strips' if width == level['width_px'] else 'tiles'} of {width} × {height} px"


def _used(facts: Facts) -> str:
    return f"{facts.bits} bits used" if facts.sample_type != "uint8" else "8 bits"


def _size(record: dict[str, Any]) -> str:
    width, height, mpp = record["width_px"], record["height_px"], record["mpp"]
    size = f"{width} × {height} px"
    if mpp is None:
        return size
    return f"{size} at {mpp:.4g} µm/px = {width * mpp / 1000:.2f} × {height * mpp / 1000:.2f} mm"


def _mpp(mpp: float | None) -> str:
    return "mpp not stated" if mpp is None else f"{mpp:.4g} µm/px"


def _found(record: dict[str, Any]) -> str:
    found = str(record["mpp_source"])
    if record["mpp"] is not None:
        found = f"{record['mpp']:.4g} µm per pixel, {found}"
    others = [claim for claim in record["mpp_stated"] if claim["source"] != record["mpp_source"]]
    return "".join([found, *(f"; {claim['source']} states {claim['mpp']:.4g}" for claim in others)])
