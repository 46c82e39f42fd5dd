"""Micrometres per pixel: what the file's metadata claims, cross-checked, or the user's word."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding

MIN_MPP, MAX_MPP = 0.05, 20.0
AGREE_XY = 1.05
AGREE_SOURCES = 1.10
AGREE_OBJECTIVE = 3.0  # magnification changers and 20x optics read at 40x sampling are common; a unit slip is 10
UM_PER_UNIT = {
    "pm": 1e-6,
    "nm": 1e-3,
    "um": 1.0,
    "µm": 1.0,
    "μm": 1.0,  # the Greek letter; above it is the micro sign
    "\\u00b5m": 1.0,  # as ImageJ escapes it
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "mm": 1e3,
    "cm": 1e4,
    "m": 1e6,
    "inch": 25400.0,
    "in": 25400.0,
}


@dataclass(frozen=True)
class Claim:
    """One place in the metadata that states a pixel size."""

    source: str
    """The place, as an error names it."""
    x: float
    """µm per level-0 pixel across."""
    y: float
    """µm per level-0 pixel down."""
    print_like: bool = False
    """A field that most writers fill with a printer's dpi, so an absurd value there means nothing."""

    @property
    def plausible(self) -> bool:
        """Both within 0.05 to 20 µm."""
        return all(MIN_MPP <= v <= MAX_MPP for v in (self.x, self.y))


@dataclass(frozen=True)
class Ome:
    """One image of an OME-XML."""

    claim: Claim | None
    """The pixel size it states, where it does."""
    size: tuple[int, int]
    """(width, height) in pixels."""
    planes: int
    """Planes of channels, depths and times; 1 for one RGB picture."""


def check_mpp(mpp: float | None) -> None:
    """UsageError where the user's ``--mpp`` is not within 0.05 to 20 µm per pixel."""
    if mpp is not None and not MIN_MPP <= mpp <= MAX_MPP:
        raise UsageError(f"{option('mpp')} {mpp:g} is not between {MIN_MPP} and {MAX_MPP:g} µm per pixel")


def settle_mpp(name: str, claims: Iterable[Claim], objective: float | None = None) -> float:
    """The one pixel size the claims agree on.

    Raises
    ------
    SlideError
        None stated, absurd, x and y more than 5 % apart, or two sources more than 10 % apart; names --mpp.
    """
    stated = [c for c in claims if c.plausible or not c.print_like]
    if not stated:
        raise SlideError(
            f"{name}: the file states no microns per pixel; give it with {option('mpp')} 0.5 (or what it is)"
        )
    for claim in stated:
        if not claim.plausible:
            raise SlideError(
                f"{name}: {claim.source} states {claim.x:g} µm per pixel, outside {MIN_MPP} to {MAX_MPP:g}; "
                f"give the right one with {option('mpp')}"
            )
        if _ratio(claim.x, claim.y) > AGREE_XY:
            raise SlideError(
                f"{name}: {claim.source} states pixels of {claim.x:g} x {claim.y:g} µm, not square; "
                f"give one size with {option('mpp')}"
            )
    first = stated[0]
    for other in stated[1:]:
        if _ratio(_mean(first), _mean(other)) > AGREE_SOURCES:
            raise SlideError(
                f"{name}: {first.source} states {_mean(first):g} µm per pixel, {other.source} "
                f"{_mean(other):g}; say with {option('mpp')} which is right"
            )
    if objective and objective > 0 and _ratio(_mean(first) * objective, 10.0) > AGREE_OBJECTIVE:
        raise SlideError(
            f"{name}: {first.source} states {_mean(first):g} µm per pixel but a {objective:g}x objective; "
            f"say with {option('mpp')} what is right"
        )
    return _mean(first)


def mpp_or(
    name: str, claims: Iterable[Claim], objective: float | None, otherwise: float | None
) -> tuple[float, tuple[Finding, ...]]:
    """The pixel size that the claims agree on, or ``otherwise`` where they settle none; what to tell of it.

    Raises ``SlideError`` as :func:`settle_mpp` does where there is no ``otherwise``.
    """
    if otherwise is None:
        return settle_mpp(name, claims, objective), ()
    try:
        stated = settle_mpp(name, claims, objective)
    except SlideError:
        return otherwise, ()
    if _ratio(stated, otherwise) <= AGREE_SOURCES:
        return stated, ()
    told = (
        f"the slide states {stated:g} µm per pixel; {option('mpp')} {otherwise:g} of several slides is not taken"
    )
    mend = f"a table of slides ({option('slides')}) with a column mpp goes before what a slide states"
    return stated, (Finding("mpp-not-taken", told, name, mend),)


def _mean(claim: Claim) -> float:
    return claim.x if claim.x == claim.y else math.sqrt(claim.x * claim.y)


def _ratio(a: float, b: float) -> float:
    return max(a, b) / min(a, b)


def resolution_claim(per_unit: tuple[float | None, float | None], um: float | None, source: str) -> list[Claim]:
    """Pixels per unit of ``um`` micrometres → claim; none where either is not stated."""
    x, y = per_unit
    return [Claim(source, um / x, um / y, print_like=True)] if um and x and y else []


def aperio_claim(description: str) -> list[Claim]:
    """``MPP = 0.499`` in an Aperio description, also where another program kept it in a crop."""
    found = re.search(r"\bMPP\s*=\s*([0-9.]{1,12})", description)
    try:
        value = float(found.group(1)) if found else 0.0
    except ValueError:
        return []
    return [Claim("the description (MPP)", value, value)] if value else []


def imagej_unit(description: str) -> float | None:
    """µm per unit of an ImageJ description (its resolution tags count in it); None where it names none."""
    found = re.search(r"^unit=(\S{1,20})\s*$", description, re.MULTILINE)
    return UM_PER_UNIT.get(found.group(1)) if found else None


def read_ome(description: str, size: tuple[int, int]) -> Ome | None:
    """The OME-XML about the picture of a (width, height) in the file's first directory; None where none is.

    Broken XML counts as none. Entities are not read (they can explode).
    """
    if "<OME" not in description[:4096] or "<!DOCTYPE" in description or "<!ENTITY" in description:
        return None
    try:
        root = ElementTree.fromstring(description.strip())
        pixels = [p for image in _children(root, "Image") for p in _children(image, "Pixels")]
        found = [_ome_pixels(p) for p in pixels if _holds_first_directory(p)]
    except (ElementTree.ParseError, ValueError, RecursionError):
        return None
    return next((ome for ome in found if ome.size == size), None)


def _children(node: ElementTree.Element, tag: str) -> list[ElementTree.Element]:
    return [child for child in node if child.tag.rpartition("}")[2] == tag]


def _holds_first_directory(pixels: ElementTree.Element) -> bool:
    data = _children(pixels, "TiffData")
    return not data or any(int(d.get("IFD", "0")) == 0 for d in data)


def _ome_pixels(pixels: ElementTree.Element) -> Ome:
    sizes = {a: int(pixels.get(f"Size{a}", "1")) for a in "XYZCT"}
    samples = [int(c.get("SamplesPerPixel", "1")) for c in _children(pixels, "Channel")]
    channels = len(samples) if samples and sum(samples) == sizes["C"] else sizes["C"]
    um = []
    for axis in "XY":
        unit = UM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        um.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * (unit or math.nan))
    known = [v for v in um if v > 0 and math.isfinite(v)]
    claim = Claim("OME-XML", known[0], known[-1]) if known else None
    return Ome(claim, (sizes["X"], sizes["Y"]), sizes["Z"] * sizes["T"] * channels)
