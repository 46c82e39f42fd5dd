"""Which plane outlines or given positions are counted in, on a slide whose scanned part has a corner of its own.

MRXS, SCN, BIF and CZI slides state bounds: the part of level 0 that was scanned. QuPath, and every program that
crops to them, counts from their corner; OpenSlide, HALO, and this program's own results count from the corner of
level 0. No file says which it does. So both are tried: the right one puts an outline within the scanned part and
on tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import option
from bleep_cli.findings import Finding
from bleep_cli.types import F64

Taken = Literal["level0", "bounds"]
INSIDE, OUTSIDE = 0.98, 0.9  # share of points in the scanned part: of an outline that is drawn there, and is not
CLEARLY_LESS = 0.8  # of the tissue that the other plane has
EDGE_PX = 16.0  # by which an outline may cross the edge of what was scanned
SAYS = {"level0": "the corner of the slide", "bounds": "the corner of the scanned part, as in QuPath"}


class Extent(Protocol):
    """How large a slide is, and which part of it was scanned: an open slide, or what a result tells of one."""

    @property
    def name(self) -> str:
        """File name without its folders."""

    @property
    def size_l0(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part; the whole slide where the format states none."""


@dataclass(frozen=True)
class Fit:
    """How places lie on a slide, if they are counted in one plane."""

    inside: float
    """Share of them in the scanned part."""
    on_tissue: float
    """Share of them on tissue."""


def corner_l0(slide: Extent, plane: Taken) -> tuple[float, float]:
    """(x, y) of a plane's (0, 0) in level-0 pixels."""
    return slide.bounds_l0[:2] if plane == "bounds" else (0.0, 0.0)


def share_inside(points: F64, slide: Extent, plane: Taken) -> float:
    """Share of points f64[n, 2] that lie in the scanned part."""
    x, y, width, height = slide.bounds_l0
    low = np.array([x, y]) - np.asarray(corner_l0(slide, plane)) - EDGE_PX
    high = low + np.array([width, height]) + 2 * EDGE_PX
    return float(((points >= low) & (points <= high)).all(axis=1).mean())


def settle(
    slide: Extent, what: str, fits: Mapping[Taken, Fit], asked: Plane, usual: Taken, known: bool = False
) -> tuple[Taken, list[Finding]]:
    """The plane of ``what``: the one asked for, else the one that fits, else the usual one.

    Where that is only usual, and not ``known`` by the kind of file, it is warned of.
    """
    if asked != "auto":
        return asked, []
    found = _better(fits)
    taken = found or usual
    shares = "; ".join(
        f"from {SAYS[plane]}, {fit.inside:.0%} of it lie in the scanned part and {fit.on_tissue:.0%} on tissue"
        for plane, fit in fits.items()
    )
    told = f"{what} is taken to count from {SAYS[taken]} ({shares})"
    mend = f"{option('origin')} says which it is: level0 or bounds"
    if found or known:
        return taken, [Finding("plane-taken", told, slide.name, mend)]
    return taken, [Finding("plane-unsure", f"either may be right, {told}", slide.name, mend)]


def _better(fits: Mapping[Taken, Fit]) -> Taken | None:
    """The plane that fits clearly better; None where neither does, or the two signs differ."""
    signs: set[Taken] = set()
    less, more = sorted(fits, key=lambda plane: fits[plane].inside)
    if fits[more].inside >= INSIDE and fits[less].inside < OUTSIDE:
        signs.add(more)
    less, more = sorted(fits, key=lambda plane: fits[plane].on_tissue)
    if fits[less].on_tissue < CLEARLY_LESS * fits[more].on_tissue:
        signs.add(more)
    return signs.pop() if len(signs) == 1 else None
