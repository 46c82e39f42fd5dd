"""What a TIFF directory says about the size of a pixel."""

from __future__ import annotations

from collections.abc import Iterator

from bleep_cli.slide.mpp import Claim, aperio_claim, imagej_unit, read_ome, resolution_claim
from bleep_cli.slide.tiff.ifd import Ifd
from bleep_cli.slide.tiff.tags import ResolutionUnit, Tag

UM_PER_UNIT: dict[int, float] = {ResolutionUnit.INCH: 25400.0, ResolutionUnit.CENTIMETRE: 10000.0}


def pixel_size_claims(base: Ifd) -> Iterator[Claim]:
    """All that the directory of the main picture claims. SlideError where it holds one plane of several."""
    description = _text(base.raw(Tag.IMAGE_DESCRIPTION))
    ome = read_ome(description, (base.one(Tag.IMAGE_WIDTH), base.one(Tag.IMAGE_LENGTH)))
    if ome is not None and ome.planes > 1:
        raise base.file.bad(
            f"its OME-XML names {ome.planes} planes (channels, depths or times); keep one RGB plane"
        )
    if ome is not None and ome.claim is not None:
        yield ome.claim
    yield from aperio_claim(description)
    um = UM_PER_UNIT.get(base.one(Tag.RESOLUTION_UNIT, ResolutionUnit.INCH))
    source = "the TIFF resolution"
    if description.startswith("ImageJ=") and um is None:
        um, source = imagej_unit(description), "ImageJ's unit"
    per_unit = base.rational(Tag.X_RESOLUTION), base.rational(Tag.Y_RESOLUTION)
    yield from resolution_claim(per_unit, um, source)


def _text(raw: bytes) -> str:
    """A description: UTF-8 today, Latin-1 from older writers."""
    raw = raw.rstrip(b"\0")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
