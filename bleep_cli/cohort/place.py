"""A section's spots put into pixels of its picture, its microns per pixel settled, and both looked at together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from bleep_cli.cohort.orientation import AS_IT_IS, oriented
from bleep_cli.cohort.picture_scale import picture_scale
from bleep_cli.cohort.pitch import neighbour_distance
from bleep_cli.cohort.spot_fit import SpotFit, judged, spot_fit
from bleep_cli.errors import ReferenceError, SlideError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.section import check_black, section_image, too_many_outside
from bleep_cli.types import Section, Slide, SpotPlane

AGREE_MPP = 1.1
UNUSUAL = 1.25  # how far off the usual distances between spots a note tells


def on_picture(section: Section) -> Section:
    """The section with its spots in pixels of its picture and looked at there; its findings say what was done.

    Raises ``ReferenceError`` for a picture that cannot be used or is not that of the spots.
    """
    with on_slide(section) as (placed, slide):
        told = looked_at(placed, slide, fitted(placed, slide), section.plane)
        return replace(placed, findings=(*placed.findings, *told))


def fitted(section: Section, slide: Slide) -> SpotFit:
    """The spots of a placed section compared with its picture. ``ReferenceError`` where it cannot be read."""
    try:
        return spot_fit(slide, section.xy_l0)
    except SlideError as error:
        raise ReferenceError(f"section {section.id}: {error.text}", origin="cohort file") from error


def looked_at(section: Section, slide: Slide, fit: SpotFit, plane: SpotPlane | None = None) -> tuple[Finding, ...]:
    """What there is to say of a placed section's picture and of its spots there, by the plane that they had.

    Raises ``ReferenceError`` for a black picture, where more than one in a hundred spots lie outside, or as
    :func:`bleep_cli.cohort.spot_fit.judged` says.
    """
    check_black(section, slide)
    if too_many_outside(fit.outside):
        raise ReferenceError(_outside(section, slide, fit, plane), origin="cohort file")
    findings = [replace(finding, where=section.id) for finding in slide.findings]
    stated = plane is not None and bool(plane.orientation)
    return (*findings, *judged(fit, section.id, slide.name, stated=stated))


@contextmanager
def on_slide(section: Section) -> Iterator[tuple[Section, Slide]]:
    """The section with its spots in pixels of its picture, and that picture, open.

    Raises ``ReferenceError`` for a picture that cannot be used, or by whose size and name it is not clear what the
    positions have to be multiplied with to lie on it.
    """
    slide, states_mpp = _open(section)
    try:
        plane = section.plane
        if plane is not None:
            section = _placed(section, plane, slide, slide.mpp if states_mpp else None)
        if section.mpp is not None and section.mpp != slide.mpp:
            slide.close()
            slide = section_image(section)
        yield section, slide
    finally:
        slide.close()


def _open(section: Section) -> tuple[Slide, bool]:
    """The picture, and whether its scale is known: where only the array tells it, it opens at 1 µm per pixel."""
    try:
        return section_image(section), True
    except ReferenceError as error:
        um = section.plane.um if section.plane is not None else None
        if section.mpp is None and um is not None and "mpp" in error.options:
            return section_image(replace(section, mpp=1.0)), False
        raise


def _placed(section: Section, plane: SpotPlane, slide: Slide, stated: float | None) -> Section:
    """Scaled and turned to the slide, which or whose user states ``stated`` µm per pixel."""
    scale = picture_scale(section, plane, slide)
    xy_l0, findings = section.xy_l0 * scale.factor, list(scale.findings)
    if plane.orientation not in ("", AS_IT_IS):
        xy_l0 = oriented(xy_l0, slide.size_l0, plane.orientation)
        what = f"{slide.name} is {plane.orientation} against the positions, which follow it"
        findings.append(Finding("picture-turned", what, section.id))
    mpp, told = _mpp(section, plane, stated, scale.factor)
    findings += told
    if plane.usual_um is not None and plane.um is None and stated is not None and len(xy_l0) > 1:
        findings += _unusual(section, plane.usual_um, neighbour_distance(xy_l0) * stated, stated)
    return replace(
        section,
        xy_l0=np.ascontiguousarray(xy_l0),
        mpp=mpp,
        plane=None,
        findings=(*section.findings, *findings),
    )


def _mpp(
    section: Section, plane: SpotPlane, stated: float | None, factor: float
) -> tuple[float | None, list[Finding]]:
    """µm per pixel of the picture by the user's word or the array; None where the picture's own word holds."""
    if plane.um is None:
        return section.mpp, []
    by_array = plane.um / factor
    if stated is None:
        what = f"{by_array:.4g} µm per pixel by {plane.um_from}; its picture states none"
        return by_array, [Finding("mpp-by-array", what, section.id)]
    if _ratio(stated, by_array) <= AGREE_MPP:
        return section.mpp, []
    whole = stated / factor
    if section.mpp is not None and factor != 1 and _ratio(whole, by_array) <= AGREE_MPP:
        what = f"{stated:g} µm per pixel are of the full-resolution picture; this one has {whole:.4g}"
        return whole, [Finding("mpp-of-whole", what, section.id)]
    who = "the cohort file" if section.mpp is not None else "its picture"
    what = f"{who} states {stated:.4g} µm per pixel, but {plane.um_from} says {by_array:.4g}"
    mend = f"if the latter is right, say {option('mpp')} {by_array:.4g}"
    return section.mpp, [Finding("mpp-against-array", what, section.id, mend, "cohort file")]


def _unusual(section: Section, usual_um: tuple[float, float], pitch_um: float, mpp: float) -> list[Finding]:
    """A note where spots lie nearer or farther apart than on any array of their kind."""
    least, most = usual_um
    if least / UNUSUAL <= pitch_um <= most * UNUSUAL:
        return []
    what = (
        f"spots lie {pitch_um:.3g} µm apart at {mpp:.4g} µm per pixel; on such arrays it is {least:g} to {most:g}"
    )
    return [Finding("pitch-unusual", what, section.id)]


def _outside(section: Section, slide: Slide, fit: SpotFit, plane: SpotPlane | None) -> str:
    """The refusal of spots beside the picture, with what could fit."""
    n, outside, (width, height) = len(fit.outside), int(fit.outside.sum()), slide.size_l0
    reach = section.xy_l0.max(axis=0)
    least = section.xy_l0.min(axis=0)
    larger = float(np.max(reach / slide.size_l0))
    text = (
        f"section {section.id}: {outside} of its {n} spots ({outside / n:.0%}) lie outside {slide.name} "
        f"({width} × {height} px); they reach from {least[0]:.0f}, {least[1]:.0f} to "
        f"{reach[0]:.0f}, {reach[1]:.0f}: "
    )
    if fit.better is not None and 3 * fit.astray.min() <= fit.astray[0]:
        return f'{text}say {option("orientation")} "{fit.better}" if the picture was, or name the one that was not'
    if larger > 1 and (least >= 0).all():
        known = ", ".join(f"{scale:.4g} for {name}" for name, scale in plane.scales.items()) if plane else ""
        return (
            f"{text}they are positions of a picture at least {larger:.3g} times as large; name that one, or say "
            f"by {option('image_scale')} what this one is of it ({known or 'such as 0.5'})"
        )
    return f"{text}they are positions of another picture, or of a larger part of it; name that one"


def _ratio(a: float, b: float) -> float:
    return math.exp(abs(math.log(a / b)))
