"""The tiles around the spots of a measured section."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from bleep_cli.errors import ReferenceError, SlideError, UsageError
from bleep_cli.slide.open import open_slide, refuse_black
from bleep_cli.types import Section, Slide, TileGrid, TileSpec


@contextmanager
def section_slide(section: Section) -> Iterator[Slide]:
    """A section's image, open. Raises ``ReferenceError`` for an image that cannot be used, or most of whose
    spots lie outside it."""
    try:
        slide = open_slide(section.image, section.mpp, scene=section.scene)
    except (SlideError, UsageError) as error:
        raise ReferenceError(f"section {section.id}: {error.text}", origin="cohort file") from error
    try:
        _check_black(section, slide)
        _check_inside(section, slide)
        yield slide
    finally:
        slide.close()


def _check_black(section: Section, slide: Slide) -> None:
    try:
        refuse_black(slide)
    except SlideError as error:
        raise ReferenceError(f"section {section.id}: {error.text}", origin="cohort file") from error


def _check_inside(section: Section, slide: Slide) -> None:
    outside = np.any((section.xy_l0 < 0) | (section.xy_l0 > np.array(slide.size_l0)), axis=1)
    if outside.mean() > 0.5:
        width, height = slide.size_l0
        raise ReferenceError(
            f"section {section.id}: {int(outside.sum())} of its {len(outside)} spots lie outside {slide.name} "
            f"({width} × {height} px); its positions belong to another image, or to another size of it"
        )


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
