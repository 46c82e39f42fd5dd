"""What a file says of its pictures, beside their pixels: what ``bleep inspect`` tells of a slide."""

from __future__ import annotations

from dataclasses import dataclass, field

from bleep_cli.findings import Finding
from bleep_cli.slide.mpp import Claim

PLAIN = 1
"""The orientation of a picture that is stored upright."""


@dataclass(frozen=True)
class Scene:
    """One of the pictures that a file holds, each with coordinates of its own."""

    index: int
    """From 0, in the order of the file."""
    name: str
    """What the file calls it; empty where it does not."""
    size: tuple[int, int]
    """(width, height) of its level 0 in pixels, upright."""
    claims: tuple[Claim, ...] = ()
    """What is stated of its pixel size."""
    objective: float | None = None
    """Magnification of the objective, where it is stated."""

    def __str__(self) -> str:
        name = f" ({self.name})" if self.name else ""
        return f"{self.index}{name}: {self.size[0]} × {self.size[1]} px"


@dataclass(frozen=True)
class Stored:
    """How one level is stored."""

    tile: tuple[int, int] | None = None
    """(width, height) of its tiles or strips in pixels; None where the format does not say."""
    compression: str = "not stated"
    """In words."""


@dataclass(frozen=True)
class Facts:
    """All of it, of the scene that is read."""

    format: str
    """Such as "Aperio SVS", "OME-TIFF", "PNG"."""
    scenes: tuple[Scene, ...]
    """Every picture that can be read, at least one."""
    stored: tuple[Stored, ...]
    """Of every level, from fine to coarse."""
    scene: int = 0
    """Index of the one that is read."""
    writer: str = ""
    """The vendor or program that wrote the file, where it says so."""
    colours: str = "RGB"
    """The channels in words, such as "RGB", "grey", "RGB with alpha", "RGB in three planes"."""
    sample_type: str = "uint8"
    """Of a stored sample."""
    bits: int = 8
    """How many bits of it are used."""
    orientation: int = PLAIN
    """1 to 8, as TIFF and EXIF count: how the stored picture has to be turned."""
    not_read: tuple[str, ...] = ()
    """Further pictures of the file that never become pixels: label, macro, thumbnail, what cannot be read."""
    findings: tuple[Finding, ...] = field(default=())
    """What is odd about it."""

    @property
    def chosen(self) -> Scene:
        """The scene that is read."""
        return self.scenes[self.scene]
