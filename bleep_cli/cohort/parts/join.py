"""Rows of counts and positions that belong together."""

from __future__ import annotations

import re
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from bleep_cli.cohort.parts.plane import NO_FACTORS, Factors, spot_plane
from bleep_cli.cohort.parts.reader import EVERY, Counted, RawSection, Source
from bleep_cli.cohort.parts.spot_names import matched
from bleep_cli.errors import ReferenceError, SlideError
from bleep_cli.findings import Finding
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.positions import Positions, read_positions
from bleep_cli.types import Slide, Str

WELL = re.compile(r"(.+)-(\d+)$")


def join(
    counted: Counted,
    positions: Positions,
    library: str | None = None,
    *,
    factors: Factors = NO_FACTORS,
    usual_um: tuple[float, float] | None = None,
) -> RawSection:
    """Inner join of count rows and in-tissue positions by barcode, in the order of the positions.

    ``library`` picks one of several capture areas, by the number that their barcodes end in, or takes all;
    ``factors`` are those of the positions, ``usual_um`` the least and the most µm between spots of such arrays.
    Raises ``ReferenceError`` where there are several and none is picked, where a barcode repeats, where none is
    on both sides.
    """
    counted = _of_well(counted, positions, library)
    inside = positions.subset(positions.in_tissue)
    check_unique(counted.barcodes)
    row, told = matched(counted.barcodes, inside.barcode)
    found = row >= 0
    if not found.any():
        raise ReferenceError(_nothing_shared(counted, positions, inside))
    findings = [*positions.findings, *counted.findings]
    if told:
        one = int(np.argmax(found))
        what = f"counts call {counted.barcodes[row[one]]} what positions call {inside.barcode[one]}"
        findings.append(Finding("spots-named-otherwise", f"{what}; they were joined {told}"))
    if not found.all():
        findings.append(Finding("spots-without-counts", f"{int((~found).sum())} spots in tissue have no counts"))
    kept = inside.subset(found)
    unused = len(counted.barcodes) - len(kept.barcode)
    if unused:
        findings.append(Finding("counts-without-position", f"{unused} rows of counts have no position in tissue"))
    plane = spot_plane(positions.xy_l0, factors, (positions.array_row, positions.array_col), usual_um)
    of_spots = counted.counts[row[found]], counted.features, kept.barcode, kept.xy_l0
    return RawSection(*of_spots, tuple(findings), plane=plane)


def _of_well(counted: Counted, positions: Positions, library: str | None) -> Counted:
    """The rows of one capture area: matrices of several name each row by its barcode and the number of its area,
    where the positions of an area alone have -1."""
    found = [WELL.match(barcode) for barcode in counted.barcodes.tolist()]
    wells = sorted({match.group(2) for match in found if match}, key=int) if all(found) else []
    if library == EVERY or (library is None and len(wells) < 2):
        return counted
    if library is None:
        raise ReferenceError(
            f"its barcodes end in {', '.join(f'-{well}' for well in wells)}: {len(wells)} sections in one matrix; "
            f'pick one with library = "{wells[0]}"; library = "{EVERY}" takes all as one'
        )
    if library not in wells:
        has = f"it has {', '.join(wells)}" if wells else "it holds one section"
        raise ReferenceError(f'no barcode ends in -{library}, which library = "{library}" picks; {has}')
    own = np.array([match is not None and match.group(2) == library for match in found], dtype=bool)
    barcodes = counted.barcodes[own]
    if not any(barcode.endswith(f"-{library}") for barcode in positions.barcode.tolist()):
        barcodes = np.array([f"{barcode.rpartition('-')[0]}-1" for barcode in barcodes.tolist()], dtype=str)
    return replace(counted, counts=counted.counts[own], barcodes=barcodes)


def _nothing_shared(counted: Counted, positions: Positions, inside: Positions) -> str:
    if not len(inside.barcode):
        return f"no spot has both counts and a position: none of {len(positions.barcode)} positions is in tissue"
    sides = (
        f"{what} call {len(names)} spots {some(names)}"
        for what, names in (("counts", counted.barcodes), ("positions in tissue", inside.barcode))
    )
    return f"no spot has both counts and a position: {', '.join(sides)}"


def some(names: Str) -> str:
    """The first three names, for a message."""
    return ", ".join(name or "(unnamed)" for name in names[:3].tolist()) + (", ..." if len(names) > 3 else "")


def check_unique(barcodes: Str) -> None:
    """Raises ``ReferenceError`` for the first spot that is named twice."""
    names, times = np.unique(barcodes, return_counts=True)
    if (times > 1).any():
        raise ReferenceError(f"spot {names[times > 1][0]} occurs {times.max()} times in the counts")


def section_positions(source: Source, path: Path) -> Positions:
    """The table of positions of a section; its image is opened where the table needs it.

    Raises ``UsageError`` for a table that cannot be used, ``ReferenceError`` for such an image.
    """
    with ExitStack() as stack:

        @cache
        def image() -> Slide:
            return stack.enter_context(
                closing(open_slide(source.file("image"), source.entry.get("mpp"), scene=source.entry.get("scene")))
            )

        try:
            positions = read_positions(path, lambda: image().mpp)
            return positions.on(image()) if positions.of_qupath else positions
        except SlideError as error:
            raise ReferenceError(error.text) from error
