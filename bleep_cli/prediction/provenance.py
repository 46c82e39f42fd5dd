"""What a result says of how it was made: the keys of ``uns["bleep"]``, written and read here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SlideRecord:
    """The slide."""

    name: str
    """File name without its folders."""
    sha256: str
    """Of its main file."""
    mpp: float
    """µm per level-0 pixel, as used."""
    width_px: int
    """Of level 0."""
    height_px: int
    bounds_l0: Sequence[int]
    """(x, y, width, height) of the scanned part."""


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
    image_tower_sha256: str
    """Of the tower that ran, at its precision."""
    sections: Sequence[str]
    """Their ids."""
    spots: int
    """How many it holds."""


@dataclass(frozen=True)
class Identity:
    """What makes a result this one and no other; the device does not."""

    version: str
    """Of bleep-cli."""
    reference: str
    """Content hash of the bundle."""
    options: Mapping[str, Any]
    """Resolved options by name, without the device."""
    slide: str | None = None
    """Hash of the slide; None where it is not known yet."""


@dataclass(frozen=True)
class Provenance:
    """Everything that ``uns["bleep"]`` holds; the names of the fields are its keys."""

    bleep_version: str
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
    versions: Mapping[str, str]
    """Installed libraries that the numbers come from."""

    def plain(self) -> dict[str, Any]:
        """As nested dicts of JSON-able values, in the order of the fields."""
        return asdict(self)


def without_device(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an identity compares."""
    return {name: value for name, value in options.items() if name != "device"}


def identity_of(saved: Mapping[str, Any]) -> Identity:
    """The identity of a result from its own provenance, plain values.

    ``KeyError``, ``TypeError`` or ``AttributeError`` for what is no provenance.
    """
    return Identity(
        version=saved["bleep_version"],
        reference=saved["reference"]["content_sha256"],
        options=without_device(saved["options"]),
        slide=saved["slide"]["sha256"],
    )
