"""Spots that are in a reference already, known by what was measured in them.

A section's hash (``Section.sha256``) tells the same table; it does not tell the same tissue read from another
file, with other barcodes, with further genes, or in part. So the spots themselves are compared, on the panel of
the expression tower: two spots are one where the same panel genes were detected, in the same proportions. That
does not depend on names, positions, or how many other genes went into a spot's total.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.types import F64, Bool, Str

TELLING_GENES = 10  # detected in a spot, below which other spots have the same by chance
PROPORTIONS = 0.02  # float16 moves a proportion by less than half of that
SAME_SHARE = 0.1  # of a section's telling spots; two measurements do not agree on a single one
ROW_BLOCK = 2048

Profiles = dict[bytes, list[tuple[int, F64]]]
"""By the detected genes: the row of each spot, and the proportions of these genes."""


class Repeated(NamedTuple):
    """Spots of a section that are in a reference."""

    section: str
    """Id of the section there that most of them are of."""
    spots: int
    """How many there are."""
    of: int
    """Spots of the new section that could be told by what was measured."""


def profiles(panel: Rows, measured: Bool) -> Profiles:
    """What is known of spots with log1p expression [n, p] on the panel by its genes ``measured``, bool[p]."""
    from scipy import sparse

    found: Profiles = defaultdict(list)
    first = 0
    for block in row_blocks(panel, ROW_BLOCK):
        rows = sparse.csr_matrix(sparse.csr_matrix(block)[:, np.flatnonzero(measured)])
        rows.eliminate_zeros()
        rows.sort_indices()
        for row in range(rows.shape[0]):
            part = slice(rows.indptr[row], rows.indptr[row + 1])
            if part.stop - part.start >= TELLING_GENES:
                counts = np.expm1(rows.data[part].astype(np.float64))
                found[rows.indices[part].tobytes()].append((first + row, counts / counts.sum()))
        first += rows.shape[0]
    return found


def repeated(new: Profiles, known: Profiles, section: Str) -> Repeated | None:
    """The spots of ``new`` that are among ``known``, whose rows are of ``section`` str[n]; None where these are
    too few to be more than chance."""
    rows = [row for genes, spots in new.items() for _, spot in spots for row in _same(spot, known.get(genes, ()))]
    telling = sum(map(len, new.values()))
    if not rows or len(rows) < SAME_SHARE * telling:
        return None
    ids, counts = np.unique(section[rows], return_counts=True)
    return Repeated(str(ids[counts.argmax()]), len(rows), telling)


def _same(spot: F64, known: Iterable[tuple[int, F64]]) -> list[int]:
    """The first row that has these proportions, if any has."""
    return [row for row, other in known if np.allclose(spot, other, rtol=PROPORTIONS, atol=0)][:1]
