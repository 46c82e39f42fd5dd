"""Micrometres per pixel: what the file's metadata claims, cross-checked, or the user's word."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding

MIN_MPP, MAX_MPP = 0.05, 100.0  # the coarsest levels of a slide reach some tens
MAX_PRINT_MPP = 20.0  # of a field that may hold a printer's dpi: 1270 of them are 20 µm
AGREE_XY = 1.05
AGREE_SOURCES = 1.10
AGREE_OVERRIDE = 0.10  # of what is stated
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
        """Both within what can be: 0.05 to 100 µm, to 20 µm of a field that may be a printer's."""
        most = MAX_PRINT_MPP if self.print_like else MAX_MPP
        return all(MIN_MPP <= v <= most for v in (self.x, self.y))

    @property
    def mpp(self) -> float:
        """µm per level-0 pixel: the mean of both."""
        return self.x if self.x == self.y else math.sqrt(self.x * self.y)


def check_mpp(mpp: float | None) -> None:
    """UsageError where the user's ``--mpp`` is not within 0.05 to 100 µm per pixel."""
    if mpp is not None and not MIN_MPP <= mpp <= MAX_MPP:
        raise UsageError(f"{option('mpp')} {mpp:g} is not between {MIN_MPP} and {MAX_MPP:g} µm per pixel")


def settle_mpp(name: str, claims: Iterable[Claim], objective: float | None = None) -> Claim:
    """The first of the claims, all of which agree on one pixel size.

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
        if _ratio(first.mpp, other.mpp) > AGREE_SOURCES:
            raise SlideError(
                f"{name}: {first.source} states {first.mpp:g} µm per pixel, {other.source} "
                f"{other.mpp:g}; say with {option('mpp')} which is right"
            )
    made_smaller = first.mpp > MAX_PRINT_MPP  # a coarse level kept alone still names the objective of its scan
    if objective and objective > 0 and not made_smaller and _ratio(first.mpp * objective, 10.0) > AGREE_OBJECTIVE:
        raise SlideError(
            f"{name}: {first.source} states {first.mpp:g} µm per pixel but a {objective:g}x objective; "
            f"say with {option('mpp')} what is right"
        )
    return first


def overridden(name: str, mpp: float, claims: Iterable[Claim]) -> tuple[Finding, ...]:
    """What is to be said where the user's ``mpp`` is not what the file plausibly states: over 10 % apart."""
    stated = [claim for claim in claims if claim.plausible and _ratio(claim.x, claim.y) <= AGREE_XY]
    if not stated or any(abs(mpp / claim.mpp - 1) <= AGREE_OVERRIDE + 1e-9 for claim in stated):
        return ()
    what = f"{mpp:g} µm per pixel is taken as given, where {stated[0].source} states {stated[0].mpp:.4g}"
    return (Finding("mpp-overrides", what, name, f"without {option('mpp')} the file's own is taken"),)


def not_taken(name: str, mpp: float, stated: Claim) -> tuple[Finding, ...]:
    """What is to be said where a slide states over 10 % another pixel size than the ``mpp`` of several slides."""
    if abs(mpp / stated.mpp - 1) <= AGREE_OVERRIDE + 1e-9:
        return ()
    given = f"{option('mpp')} {mpp:g} of several slides"
    what = f"{stated.source} states {stated.mpp:.4g} µm per pixel; {given} is not taken"
    mend = f"a table of slides ({option('slides')}) with a column mpp goes before what a slide states"
    return (Finding("mpp-not-taken", what, name, mend),)


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
