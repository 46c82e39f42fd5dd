"""What a result says of how it was made: the keys of ``uns["bleep"]``, written and read here alone."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from bleep_cli.bundle.contents import BundleInfo


@dataclass(frozen=True)
class SlideRecord:
    """The slide."""

    name: str
    """File name without its folders."""
    sha256: str
    """Of its main file."""
    mpp: float
    """µm per level-0 pixel, as used."""
    mpp_source: str
    """Where that was found: a place in the file, or "given" by the user."""
    width_px: int
    """Of level 0."""
    height_px: int
    bounds_l0: Sequence[int]
    """(x, y, width, height) of the scanned part."""
    scene: int
    """Which of the pictures of its file, from 0."""


@dataclass(frozen=True)
class TileRecord:
    """The tiles."""

    px: int
    """Edge in pixels."""
    um: Sequence[float]
    """Edge of every field of view in µm."""
    pitch_um: float
    """Distance from tile to tile in µm."""


@dataclass(frozen=True)
class ReferenceRecord:
    """The reference."""

    name: str
    """File name of the bundle, without its folders."""
    content_sha256: str
    content_verified: bool
    """Whether the content was hashed and found to be that, by this run; else it is what the bundle states."""
    image_tower_sha256: str
    """Of the tower that ran, at its precision."""
    sections: Sequence[str]
    """Their ids."""
    left_out: Sequence[str]
    """Ids of those whose spots had no part."""
    spots: int
    """How many it holds."""
    donors: int
    """How many they are from; never who."""
    species: str
    """What the sections are of, in the words of who built it."""
    licence: str
    """Terms of the data."""
    citation: str
    """How the data is cited."""


@dataclass(frozen=True)
class Identity:
    """What makes a result this one and no other; the device does not, nor do date and command line."""

    version: str
    """Of bleep-cli."""
    reference: str
    """Content hash of the bundle."""
    options: Mapping[str, Any]
    """Resolved options by name, without the device and the pixel size."""
    slide: str | None = None
    """Hash of the slide; None where it is not known yet."""
    mpp: float | None = None
    """µm per level-0 pixel, as used, whoever stated it; None where it is not known yet."""


@dataclass(frozen=True)
class Provenance:
    """Everything that ``uns["bleep"]`` holds; the names of the fields are its keys."""

    bleep_version: str
    created: str
    """Date and time in UTC, as ISO 8601 has it."""
    command: str
    """The command line, files by their names, without what does not change the result; empty for Python."""
    expression_units: str
    """In words."""
    intended_use: str
    """The bundle's."""
    slide: SlideRecord
    tile: TileRecord
    reference: ReferenceRecord
    options: Mapping[str, Any]
    """As they were resolved: nothing left open, files by name and hash, the device and precision that ran."""
    precision_cost: Mapping[str, Any]
    """What the precision costs against float32; empty for float32."""
    findings: Sequence[Mapping[str, str]]
    """What was noticed of the slide and its tiles (:meth:`bleep_cli.findings.Finding.plain`)."""
    scale_check: Mapping[str, Any]
    """What the slide's tissue says of its mpp (:class:`bleep_cli.signatures.scale.ScaleCheck`)."""
    reliability: Mapping[str, Any]
    """How the numbers per gene were measured and strange tiles told, or that this is not available."""
    versions: Mapping[str, str]
    """Installed libraries that the numbers come from."""

    def plain(self) -> dict[str, Any]:
        """As nested dicts of JSON-able values, in the order of the fields."""
        return asdict(self)


NOT_AVAILABLE = "not available"
"""What a result says of what its reference does not hold."""


def reliability_of(info: BundleInfo, tiles: Mapping[str, Any] | str) -> dict[str, Any]:
    """What a result says of how far its genes and tiles can be believed; an older bundle cannot say it."""
    return {"per_gene": dict(info.reliability) or NOT_AVAILABLE, "tiles": tiles}


def created() -> str:
    """Now, or the time that ``SOURCE_DATE_EPOCH`` states (seconds since 1970), for results that are to be the same
    byte for byte."""
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(stated), UTC) if stated.isdecimal() else datetime.now(UTC)
    return now.isoformat(timespec="seconds")


def compared_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an identity compares: not the device, nor where the pixel size is from."""
    return {name: value for name, value in options.items() if name not in ("device", "mpp", "mpp_if_unstated")}


def identity_of(saved: Mapping[str, Any]) -> Identity:
    """The identity of a result from its own provenance, plain values.

    ``KeyError``, ``TypeError`` or ``AttributeError`` for what is no provenance.
    """
    return Identity(
        version=saved["bleep_version"],
        reference=saved["reference"]["content_sha256"],
        options=compared_options(saved["options"]),
        slide=saved["slide"]["sha256"],
        mpp=saved["slide"]["mpp"],
    )
