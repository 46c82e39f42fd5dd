"""The picture of a measured section, and the tiles around its spots."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bleep_cli.errors import ReferenceError, SlideError, UsageError
from bleep_cli.slide.open import open_slide, refuse_black
from bleep_cli.types import F64, Bool, Section, Slide, TileGrid, TileSpec

MOST_OUTSIDE = 0.01  # of the spots, rounded up


@contextmanager
def section_slide(section: Section) -> Iterator[Slide]:
    """A section's image, open.

    Raises ``ReferenceError`` for an image that cannot be used, or with over one in a hundred of the spots outside.
    """
    slide = section_image(section)
    try:
        check_black(section, slide)
        outside = beside(section.xy_l0, slide.size_l0)
        if too_many_outside(outside):
            width, height = slide.size_l0
            raise ReferenceError(
                f"section {section.id}: {int(outside.sum())} of its {len(outside)} spots lie outside {slide.name} "
                f"({width} × {height} px); its positions belong to another image, or to another size of it"
            )
        yield slide
    finally:
        slide.close()


def section_image(section: Section) -> Slide:
    """A section's image, open, wherever its spots lie. Raises ``ReferenceError`` for one that cannot be used."""
    try:
        return open_slide(section.image, section.mpp, scene=section.scene)
    except (SlideError, UsageError) as error:
        raise ReferenceError(f"section {section.id}: {error.text}", origin="cohort file") from error


def check_black(section: Section, slide: Slide) -> None:
    """Raises ``ReferenceError`` for an image that is black all over."""
    try:
        refuse_black(slide)
    except SlideError as error:
        raise ReferenceError(f"section {section.id}: {error.text}", origin="cohort file") from error


def beside(xy_l0: F64, size_l0: tuple[int, int]) -> Bool:
    """bool[n]: which positions lie outside a picture of (w, h) pixels."""
    return np.asarray(((xy_l0 < 0) | (xy_l0 > np.array(size_l0))).any(axis=1))


def too_many_outside(outside: Bool) -> bool:
    """More than one in a hundred."""
    return bool(outside.sum() > np.ceil(MOST_OUTSIDE * len(outside)))


def section_grid(section: Section, mpp: float, spec: TileSpec) -> TileGrid:
    """The tiles centred on a section's spots."""
    n = len(section.barcodes)
    return TileGrid(
        centre_l0=section.xy_l0,
        array_row=np.arange(n, dtype=np.int64),
        array_col=np.zeros(n, np.int64),
        tile_id=section.barcodes,
        region=np.full(n, section.id),
        spec=spec,
        mpp=mpp,
        pitch_um=spec.um[0],
    )
