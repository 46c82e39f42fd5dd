"""How the spots of a section lie on its picture: how many beside it, how many on glass, and in which orientation.

A spot lies on glass where tissue is found on under a tenth of a disc of 55 µm around it. Measured on the 16
real sections at hand, five of two tumours, ten of olfactory bulbs and one on a Visium array: of 14 of them 0 to
7 % of the spots lie on glass when the picture is right, of two pale ones 22 %; turned or mirrored, it is 5 to
88 %. No section had fewer spots on glass in any of the other seven orientations: the best of them had 1.4 (the
pale ones) to 59 times as many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.cohort.orientation import AS_IT_IS, ORIENTATIONS, oriented
from bleep_cli.errors import ReferenceError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.section import beside
from bleep_cli.tiles.tissue.find import clean
from bleep_cli.tiles.tissue.ground import Ground, survey
from bleep_cli.types import F64, I64, Bool, Slide

SPOT_UM = 55.0  # diameter of a spot of Visium; those of older arrays are larger, so this much of them is meant
LEAST_TISSUE = 0.1  # of the disc
FEWEST = 10  # spots on glass, to say more than how many there are
MUCH_GLASS = 0.25  # from here on a warning; pale tissue has come up to 0.22
MOST_GLASS = 0.5
WRONG_GLASS = 0.1  # from here on another orientation that fits decides, where it leaves a third of that
CLEAR_SIGMA = 3.0  # standard deviations of a count that another orientation has to be better by


@dataclass(frozen=True)
class SpotFit:
    """The n spots of a section on its picture."""

    outside: Bool
    """bool[n] beside the picture."""
    on_glass: Bool
    """bool[n] on it, but not on tissue."""
    astray: I64
    """i64[8] how many would lie outside or on glass, by ``ORIENTATIONS``."""
    ground: Ground
    """What the picture shows."""

    @property
    def better(self) -> str | None:
        """The orientation that clearly fewer spots would be astray in, if there is one."""
        now, best = self.astray[0], int(np.argmin(self.astray))
        return ORIENTATIONS[best] if now - self.astray[best] > CLEAR_SIGMA * np.sqrt(now) else None


def spot_fit(slide: Slide, xy_l0: F64) -> SpotFit:
    """Compares spots f64[n, 2] (x, y) with the tissue that is found on a slide. Raises ``SlideError``."""
    return fit_to(survey(slide), slide.size_l0, slide.mpp, xy_l0)


def fit_to(ground: Ground, size_l0: tuple[int, int], mpp: float, xy_l0: F64) -> SpotFit:
    """The same with what a slide of (w, h) ``size_l0`` and ``mpp`` µm per pixel shows."""
    tissue = clean(ground.stained, ground.um_per_px)
    covered = _covered(tissue, SPOT_UM / 2 / mpp * ground.scale)
    astray = []
    for orientation in ORIENTATIONS:
        places = oriented(xy_l0, size_l0, orientation)
        outside = beside(places, size_l0)
        glass = ~outside & ~_at(covered, places * ground.scale)
        astray.append(int((outside | glass).sum()))
        if orientation == AS_IT_IS:
            first = outside, glass
    return SpotFit(*first, np.array(astray, np.int64), ground)


def judged(fit: SpotFit, section: str, picture: str, *, stated: bool = False) -> tuple[Finding, ...]:
    """What there is to say of a fit, for the section's id and the picture's name.

    Raises ``ReferenceError`` where the picture cannot be that of the spots: most of them on glass, or over a tenth
    of them while another orientation leaves a third of that or less. With ``stated``, where somebody says that the
    orientation is right, that is a warning.
    """
    n, outside, glass = len(fit.outside), int(fit.outside.sum()), int(fit.on_glass.sum())
    findings = []
    if outside:
        what = f"{outside} of {n} spots lie outside {picture}; their tiles are white there"
        findings.append(Finding("spots-outside-picture", what, section))
    if not glass:
        return tuple(findings)
    what = f"{glass} of {n} spots ({glass / n:.0%}) lie on glass in {picture}"
    if glass < FEWEST:
        return (*findings, Finding("spots-on-glass", what, section))
    better = fit.better
    now, best = int(fit.astray[0]), int(fit.astray.min())
    if better is not None:
        what += f"; if it was {better}, {f'only {best} do' if best else 'none does'}"
    wrong = glass > MOST_GLASS * n or (better is not None and now >= WRONG_GLASS * n and 3 * best <= now)
    if wrong and not stated:
        says = f'"{AS_IT_IS}" if that is right' + (f', or "{better}"' if better is not None else "")
        raise ReferenceError(
            f"section {section}: {what}; name the section's own picture, neither turned nor mirrored, or say "
            f"{option('orientation')} {says}",
            origin="cohort file",
        )
    if wrong or better is not None or glass > MUCH_GLASS * n:
        mend = "is it this section's, neither turned nor mirrored? bleep inspect draws the spots on it"
        mend += f'; {option("orientation")} "{better}" takes it as that' if better is not None else ""
        return (*findings, Finding("picture-doubtful", what, section, mend, "cohort file"))
    return (*findings, Finding("spots-on-glass", what, section))


def _covered(tissue: Bool, radius: float) -> Bool:
    """bool[h, w]: where a disc of ``radius`` pixels holds enough tissue."""
    from scipy import ndimage

    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x**2 + y**2 <= max(radius, 0.5) ** 2).astype(np.float32)
    share = ndimage.convolve(tissue.astype(np.float32), disc / disc.sum(), mode="constant")
    return np.asarray(share >= LEAST_TISSUE)


def _at(raster: Bool, xy: F64) -> Bool:
    """bool[n]: a raster [h, w] at positions f64[n, 2] in its pixels; what lies beyond it counts as its edge."""
    height, width = raster.shape
    x, y = xy.astype(np.int64).clip(0, (width - 1, height - 1)).T
    return np.asarray(raster[y, x])
