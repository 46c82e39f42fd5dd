"""Rows of counts and positions that belong together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.cohort.readers.reader import RawSection
from bleep_cli.findings import Finding
from bleep_cli.tiles.positions import Positions
from bleep_cli.types import Str

if TYPE_CHECKING:
    from scipy import sparse


def join(counts: sparse.csr_matrix, names: Str, positions: Positions, gene_ids: Str, symbols: Str) -> RawSection:
    """Inner join of count rows and in-tissue positions by barcode, in the order of the positions.

    ``counts`` CSR[m, g] with ``names`` str[m]. ``ValueError`` where a name repeats.
    """
    inside = positions.subset(positions.in_tissue)
    check_unique(names)
    row = {str(name): i for i, name in enumerate(names)}
    found = np.array([b in row for b in inside.barcode], dtype=bool)
    findings = []
    if not found.all():
        findings.append(Finding("spots-without-counts", f"{int((~found).sum())} spots in tissue have no counts"))
    kept = inside.subset(found)
    unused = len(names) - len(kept.barcode)
    if unused:
        findings.append(Finding("counts-without-position", f"{unused} rows of counts have no position in tissue"))
    rows = [row[str(b)] for b in kept.barcode]
    return RawSection(counts[rows], gene_ids, symbols, kept.barcode, kept.xy_l0, tuple(findings))


def check_unique(barcodes: Str) -> None:
    """Raises ``ValueError`` for the first spot that is named twice."""
    names, times = np.unique(barcodes, return_counts=True)
    if (times > 1).any():
        raise ValueError(f"spot {names[times > 1][0]} occurs {times.max()} times in the counts")
