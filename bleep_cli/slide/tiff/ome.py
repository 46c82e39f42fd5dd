"""The images of an OME-XML: their names, planes and pixel sizes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from bleep_cli.limits import MOST_DIRECTORIES
from bleep_cli.slide.mpp import UM_PER_UNIT, Claim


@dataclass(frozen=True)
class Channel:
    """One channel of an image."""

    name: str
    """As the file calls it; empty where it does not."""
    colour: int | None
    """RGBA of 8 bits each as one signed number, where it is stated."""


@dataclass(frozen=True)
class Ome:
    """One image."""

    name: str
    """Without folders; empty where it has none."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    claim: Claim | None
    """The pixel size it states, where it does."""
    channels: tuple[Channel, ...]
    """At least one; the three colours of an RGB picture are one channel."""
    depths: int
    """Focus planes × times."""
    bits: int | None
    """How many bits of a sample are used, where it is stated."""
    ifds: tuple[int, ...]
    """Which main directories of the file hold its planes, counted from 0, in the order of the channels."""

    @property
    def planes(self) -> int:
        """Planes of channels, depths and times; 1 for one RGB picture."""
        return self.depths * len(self.channels)


def read_ome(description: str, file_name: str) -> tuple[Ome, ...]:
    """The images that the OME-XML in a file's first description places in this file; none where it is none.

    Broken XML counts as none. Entities are not read (they can explode).
    """
    if "<OME" not in description[:4096] or "<!DOCTYPE" in description or "<!ENTITY" in description:
        return ()
    try:
        root = ElementTree.fromstring(description.strip())
        found = [_image(image, file_name) for image in _children(root, "Image")]
    except (ElementTree.ParseError, ValueError, RecursionError):
        return ()
    return tuple(image for image in found if image is not None)


def _children(node: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [child for child in node if child.tag.rpartition("}")[2] == tag]


def _image(image: ElementTree.Element, file_name: str) -> Ome | None:
    for pixels in _children(image, "Pixels"):
        sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "XYZCT"}
        channels = _channels(pixels, sizes["C"])
        depths = sizes["Z"] * sizes["T"]
        ifds = _directories(pixels, file_name, depths * len(channels))
        bits = int(pixels.get("SignificantBits", "0")) or None
        name = image.get("Name", "").replace("\\", "/").rpartition("/")[2]
        if ifds:
            return Ome(name, (sizes["X"], sizes["Y"]), _claim(pixels), channels, depths, bits, ifds)
    return None


def _channels(pixels: ElementTree.Element, count: int) -> tuple[Channel, ...]:
    """The channels that are listed where they add up to ``count`` samples, else as many without a name."""
    listed = _children(pixels, "Channel")
    if listed and sum(int(c.get("SamplesPerPixel", "1")) for c in listed) == count:
        return tuple(Channel(c.get("Name", ""), _number(c.get("Color"))) for c in listed)
    return (Channel("", None),) * max(1, min(count, MOST_DIRECTORIES))


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _directories(pixels: ElementTree.Element, file_name: str, planes: int) -> tuple[int, ...]:
    """Where the planes stand: in order from the first directory, unless ``TiffData`` says otherwise."""
    data = list(_of_this_file(_children(pixels, "TiffData"), file_name))
    if not data and _children(pixels, "TiffData"):
        return ()
    stated = [d for d in data if d.get("IFD") is not None]
    if not stated:
        return tuple(range(min(max(planes, 1), MOST_DIRECTORIES)))
    places: dict[tuple[int, ...], int] = {}
    for entry in stated:
        first, at = int(entry.get("IFD", "0")), tuple(int(entry.get(f"First{axis}", "0")) for axis in "TZC")
        for i in range(min(int(entry.get("PlaneCount", "1")), MOST_DIRECTORIES)):
            places[*at[:2], at[2] + i] = first + i
    return tuple(places[place] for place in sorted(places))


def _of_this_file(data: Iterable[ElementTree.Element], file_name: str) -> Iterable[ElementTree.Element]:
    """The entries that point into this file: of several files, those with its name."""
    named = [(next((u.get("FileName") for u in _children(d, "UUID")), None), d) for d in data]
    files = {name for name, _ in named if name}
    return [d for name, d in named if len(files) <= 1 or name in (None, file_name)]


def _claim(pixels: ElementTree.Element) -> Claim | None:
    um = []
    for axis in "XY":
        unit = UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        um.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * (unit or math.nan))
    known = [v for v in um if v > 0 and math.isfinite(v)]
    return Claim("OME-XML", known[0], known[-1]) if known else None
