"""What a TIFF directory says in words and numbers: the size of a pixel, who wrote it, what it is called."""

from __future__ import annotations

from collections.abc import Iterator

from bleep_cli.errors import SlideError
from bleep_cli.slide.mpp import Claim, aperio_claim, imagej_unit, resolution_claim
from bleep_cli.slide.tiff.ifd import Ifd
from bleep_cli.slide.tiff.ome import Ome
from bleep_cli.slide.tiff.tags import ResolutionUnit, Tag

UM_PER_UNIT: dict[int, float] = {ResolutionUnit.INCH: 25400.0, ResolutionUnit.CENTIMETRE: 10000.0}
MAX_NAME = 80  # characters of a name that are told


def pixel_size_claims(base: Ifd, ome: Ome | None) -> Iterator[Claim]:
    """All that the directory of a picture, and what the OME-XML says of it, claim."""
    if ome is not None and ome.claim is not None:
        yield ome.claim
    said = description(base)
    yield from aperio_claim(said)
    um = UM_PER_UNIT.get(base.one(Tag.RESOLUTION_UNIT, ResolutionUnit.INCH))
    source = "the TIFF resolution"
    if said.startswith("ImageJ=") and um is None:
        um, source = imagej_unit(said), "ImageJ's unit"
    per_unit = base.rational(Tag.X_RESOLUTION), base.rational(Tag.Y_RESOLUTION)
    yield from resolution_claim(per_unit, um, source)


def description(ifd: Ifd) -> str:
    """Its image description."""
    return _text(ifd.raw(Tag.IMAGE_DESCRIPTION))


def page_name(ifd: Ifd) -> str:
    """What the directory is called, in one line, without folders."""
    name = _text(ifd.raw(Tag.PAGE_NAME)).replace("\\", "/").rpartition("/")[2]
    return " ".join(name.split())[:MAX_NAME]


def software(ifd: Ifd) -> str:
    """The program that wrote it, in one line."""
    return " ".join(_text(ifd.raw(Tag.SOFTWARE)).split())[:MAX_NAME]


def bits_used(ifd: Ifd, ome: Ome | None) -> int | None:
    """How many bits of a sample are used, by OME-XML or by the highest value that TIFF's tag names."""
    if ome is not None and ome.bits is not None:
        return ome.bits
    try:
        return max(ifd.ints(Tag.MAX_SAMPLE_VALUE)).bit_length()
    except SlideError:
        return None  # not stated, or not as numbers


def _text(raw: bytes) -> str:
    """UTF-8 today, Latin-1 from older writers."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
