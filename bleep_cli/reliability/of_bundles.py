"""References made of bundles alone, with their reliability measured anew: the towers are those of the bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bleep_cli.bundle.open import Bundle
from bleep_cli.reference import choose, merge
from bleep_cli.reference.parts import Built, opened
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.per_gene import ranks
from bleep_cli.types import Progress, no_progress


def shrink_reference(
    base: Bundle | Path | str,
    *,
    without_donors: Sequence[str] = (),
    without_sections: Sequence[str] = (),
    donors: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> Built:
    """``base`` without some donors and sections, or with ``donors`` alone, and with ``genes`` and the panel alone.

    None keeps all. The panel stays, since the expression tower takes it; the base itself is left as it is. Raises
    ``UsageError`` for a name that is not there, where nothing is named, or where no section is left.
    """
    bundle = opened(base)
    found = choose.shrink_reference(
        bundle, without_donors=without_donors, without_sections=without_sections, donors=donors, genes=genes
    )
    if found.info.sections != bundle.info.sections:
        return with_reliability(found, progress=progress)
    columns = found.arrays.gene_columns
    if "heldout_r" in columns:
        columns = {**columns, "heldout_rank": ranks(columns["heldout_r"])}
    return replace(found, arrays=replace(found.arrays, gene_columns=columns))


def merge_references(bundles: Sequence[Bundle | Path | str], *, progress: Progress = no_progress) -> Built:
    """The sections of several bundles of the same towers behind one another, on the genes that all of them hold.

    A section that several of them hold is taken once. Raises ``UsageError`` for fewer than two, ``ReferenceError``
    for other towers, and for sections that cannot stand beside each other.
    """
    return with_reliability(merge.merge_references(bundles), progress=progress)
