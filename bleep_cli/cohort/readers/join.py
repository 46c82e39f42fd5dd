"""Rows of counts and positions that belong together."""

from __future__ import annotations

import re

import numpy as np

from bleep_cli.cohort.readers.plane import NO_FACTORS, Factors, spot_plane
from bleep_cli.cohort.readers.reader import Counted, RawSection
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.tiles.positions import Positions
from bleep_cli.types import Str

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

    ``library`` picks one of several capture areas, by the number that their barcodes end in. ``factors`` are those
    of the positions, ``usual_um`` the least and the most µm between spots of arrays of their kind. Raises
    ``ReferenceError`` where there are several and none is picked, and where a barcode repeats.
    """
    counted = _of_well(counted, positions, library)
    inside = positions.subset(positions.in_tissue)
    check_unique(counted.barcodes)
    row = {str(name): i for i, name in enumerate(counted.barcodes)}
    found = np.array([b in row for b in inside.barcode], dtype=bool)
    findings = []
    if not found.all():
        findings.append(Finding("spots-without-counts", f"{int((~found).sum())} spots in tissue have no counts"))
    kept = inside.subset(found)
    unused = len(counted.barcodes) - len(kept.barcode)
    if unused:
        findings.append(Finding("counts-without-position", f"{unused} rows of counts have no position in tissue"))
    rows = [row[str(b)] for b in kept.barcode]
    plane = spot_plane(positions.xy_l0, factors, (positions.array_row, positions.array_col), usual_um)
    of_spots = counted.counts[rows], counted.features, kept.barcode, kept.xy_l0
    return RawSection(*of_spots, tuple(findings), plane=plane)


def _of_well(counted: Counted, positions: Positions, library: str | None) -> Counted:
    """The rows of one capture area: matrices of several name each row by its barcode and the number of its area,
    where the positions of an area alone have -1."""
    found = [WELL.match(barcode) for barcode in counted.barcodes.tolist()]
    wells = sorted({match.group(2) for match in found if match}, key=int) if all(found) else []
    if library is None and len(wells) < 2:
        return counted
    if library is None:
        raise ReferenceError(
            f"its barcodes end in {', '.join(f'-{well}' for well in wells)}: {len(wells)} sections in one matrix; "
            f'pick one with library = "{wells[0]}"'
        )
    if library not in wells:
        has = f"it has {', '.join(wells)}" if wells else "it holds one section"
        raise ReferenceError(f'no barcode ends in -{library}, which library = "{library}" picks; {has}')
    own = np.array([match is not None and match.group(2) == library for match in found], dtype=bool)
    barcodes = counted.barcodes[own]
    if not any(barcode.endswith(f"-{library}") for barcode in positions.barcode.tolist()):
        barcodes = np.array([f"{barcode.rpartition('-')[0]}-1" for barcode in barcodes.tolist()], dtype=str)
    return Counted(counted.counts[own], counted.features, barcodes)


def check_unique(barcodes: Str) -> None:
    """Raises ``ReferenceError`` for the first spot that is named twice."""
    names, times = np.unique(barcodes, return_counts=True)
    if (times > 1).any():
        raise ReferenceError(f"spot {names[times > 1][0]} occurs {times.max()} times in the counts")
