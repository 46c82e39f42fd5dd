"""References made of bundles, measured anew: what was measured of a whole does not hold of a part of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bleep_cli.bundle.open import Bundle
from bleep_cli.reference import choose, merge
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability


def shrink_reference(
    base: Bundle | Path | str,
    *,
    without_donors: Sequence[str] = (),
    without_sections: Sequence[str] = (),
    donors: Sequence[str] | None = None,
    genes: Sequence[str] | None = None,
) -> Built:
    """``base`` without some donors and sections, or with ``donors`` alone, and with ``genes`` and the panel alone.

    None keeps all. The panel stays, since the expression tower takes it; the base itself is left as it is. Raises
    ``UsageError`` for a name that is not there, where nothing is named, or where no section is left.
    """
    built = choose.shrink_reference(
        base, without_donors=without_donors, without_sections=without_sections, donors=donors, genes=genes
    )
    return built if built.arrays.gene_columns else with_reliability(built)


def merge_references(references: Sequence[Bundle | Path | str]) -> Built:
    """The sections of all bundles behind one another, on the genes that all of them hold.

    A section that several of them hold is taken once. Settings are those of the first. Raises ``UsageError`` for
    fewer than two, ``ReferenceError`` for towers, tiles or counts per spot that differ, and for different sections
    of one name, or the same under several names.
    """
    return with_reliability(merge.merge_references(references))
