"""Which of an array's pictures a section names: what positions are multiplied with to lie on it.

The user's word comes first. Then the picture's size against that of the full-resolution picture, where a
smaller picture of a known factor lies beside the positions; then its name; then the length of its longer side,
which Space Ranger makes of a few lengths only. Where the positions come to lie says nothing: a picture that was
turned holds them all, once they are shrunk enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bleep_cli.errors import ReferenceError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.section import beside, too_many_outside
from bleep_cli.types import Section, Slide, SpotPlane

SAME_SIZE = 0.01  # how far width and height may be off: of a picture of 200 px rounding alone takes 0.3 %
SIDES: Mapping[str, tuple[int, ...]] = {"hires": (2000, 4000, 6000), "lowres": (600,)}
"""Longer sides in px of Space Ranger's pictures: hires of a capture area of 6.5 mm, of 11 mm, and of Visium HD."""
LEAST_FILL = 0.3  # of a picture that positions span, on its longer side, to be thought positions of it


@dataclass(frozen=True)
class Scale:
    """What positions are multiplied with."""

    factor: float
    """Pixels of the picture per pixel of the positions."""
    findings: tuple[Finding, ...] = ()
    """What told it, where it is not 1."""


def picture_scale(section: Section, plane: SpotPlane, slide: Slide) -> Scale:
    """By what the positions of a plane have to be multiplied to be pixels of a slide.

    Raises ``ReferenceError`` for a copy of their picture of another size than those that are known.
    """
    if plane.image_scale is not None:
        return _by(section, slide, plane.image_scale, "as the cohort file says")
    ratio = _of_whole(plane, slide)
    by_size = next((scale for scale in (1.0, *plane.scales.values()) if ratio and _close(ratio, scale)), None)
    if by_size is not None:
        return _told(section, plane, slide, by_size, "by its size")
    named = next((scale for name, scale in plane.scales.items() if f"{name}_image" in slide.name.lower()), None)
    if named is not None and ratio is None:  # a copy of another size keeps its name
        return _told(section, plane, slide, named, "by its name")
    if ratio is not None:
        raise ReferenceError(_copy(section, plane, slide, ratio), origin="cohort file")
    side = next((plane.scales[name] for name in plane.scales if max(slide.size_l0) in SIDES.get(name, ())), None)
    if side is not None:
        return _told(section, plane, slide, side, f"by its longer side of {max(slide.size_l0)} px")
    return Scale(1.0)  # positions that do not lie on it are refused once they are compared with it


def _told(section: Section, plane: SpotPlane, slide: Slide, scale: float, told: str) -> Scale:
    """The factor that size or name tell, unless positions that lie on the picture would shrink into a corner."""
    if scale == 1.0 or not _on(section, 1.0, slide) or _fill(plane, scale, slide) >= LEAST_FILL:
        return _by(section, slide, scale, told)
    what = (
        f"{slide.name} is {told} {scale:.4g} of the full-resolution picture, but positions lie on it as they are"
    )
    mend = f"say {option('image_scale')} 1 if that is right, or {scale:.4g}"
    return Scale(1.0, (Finding("picture-size", what, section.id, mend, "cohort file"),))


def _close(a: float, b: float) -> bool:
    return abs(a / b - 1) < SAME_SIZE


def _by(section: Section, slide: Slide, factor: float, told: str) -> Scale:
    if factor == 1.0:
        return Scale(1.0)
    what = f"positions are multiplied by {factor:.6g} to lie on {slide.name}, {told}"
    return Scale(factor, (Finding("picture-scaled", what, section.id),))


def _copy(section: Section, plane: SpotPlane, slide: Slide, ratio: float) -> str:
    """The refusal of a picture that is a copy of the positions', but of no known factor."""
    (width, height), (w, h) = slide.size_l0, _whole_size(plane)
    outside = beside(section.xy_l0, slide.size_l0)
    return (
        f"section {section.id}: {slide.name} has {width} × {height} px, and its positions are of a picture "
        f"{1 / ratio:.4g} times as large ({w:.0f} × {h:.0f} px; {int(outside.sum())} of {len(outside)} spots, "
        f"{outside.mean():.0%}, lie outside); name that one, or say {option('image_scale')} {ratio:.4g} for this "
        "one (1 if the positions are of it)"
    )


def _whole_size(plane: SpotPlane) -> tuple[float, float]:
    """(width, height) of the picture that the positions are of, by the largest picture of a known factor."""
    name = max(plane.sizes, key=lambda name: max(plane.sizes[name]))
    width, height = plane.sizes[name]
    return width / plane.scales[name], height / plane.scales[name]


def _of_whole(plane: SpotPlane, slide: Slide) -> float | None:
    """The picture's size over the full-resolution picture's; None where that is not known or of another shape."""
    if not plane.sizes:
        return None
    x, y = (a / b for a, b in zip(slide.size_l0, _whole_size(plane), strict=True))
    return float(np.sqrt(x * y)) if _close(x, y) else None


def _on(section: Section, factor: float, slide: Slide) -> bool:
    return not too_many_outside(beside(section.xy_l0 * factor, slide.size_l0))


def _fill(plane: SpotPlane, factor: float, slide: Slide) -> float:
    """The part of the picture's sides that the array spans, the larger of both."""
    return float(np.max((plane.spans[1] - plane.spans[0]) * factor / slide.size_l0))
