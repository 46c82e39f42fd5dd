"""A reference of some of the sections and genes of a bundle: what ``remove`` and ``subset`` come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from bleep_cli.base.rows import PickedRows
from bleep_cli.base.text import counted
from bleep_cli.bundle.contents import BundleArrays, named_sections
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import UsageError
from bleep_cli.findings import Finding
from bleep_cli.reference.parts import Built, one_donor
from bleep_cli.signatures.make import signature_of_some
from bleep_cli.types import I64


def shrink_reference(
    base: Bundle,
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
    records, name = base.info.sections, base.name
    if not without_donors and not without_sections and donors is None and genes is None:
        raise UsageError(f"nothing is named to leave out of {name}, or to keep of it")
    kept = {record.id for record in records}
    if donors is not None:
        kept = set(named_sections(records, name, donors=donors))
    gone = named_sections(records, name, donor=without_donors, section=without_sections)
    kept -= set(gone)
    if not kept:
        raise UsageError(f"no section of {name} would be left")
    columns = None if genes is None else np.union1d(base.gene_rows(genes), base.panel)
    found = _chosen(base, kept, columns)
    if genes is None or columns is None:
        return found
    asked = len(base.gene_rows(genes))
    told = (
        f"{len(columns)} of {counted(len(base.symbols), 'gene')}: {asked} that were asked for, and "
        f"{len(columns) - asked} more that the towers need"
    )
    return replace(found, info=replace(found.info, findings=(*found.findings, Finding("genes-chosen", told))))


def _chosen(base: Bundle, kept: Collection[str], columns: I64 | None) -> Built:
    """Those sections and columns of the base; all columns for None."""
    rows = np.flatnonzero(np.isin(base.spots("section"), list(kept)))
    genes = np.arange(len(base.symbols)) if columns is None else columns
    places = [i for i, record in enumerate(base.info.sections) if record.id in kept]
    gone = [record for record in base.info.sections if record.id not in kept]
    looks, calibration = base.looks(), base.calibration()
    arrays = BundleArrays(
        image_embeddings=base.embeddings("image")[rows],
        expression_embeddings=base.embeddings("expression")[rows],
        expression=PickedRows(base.expression_rows(columns), rows),
        symbols=base.symbols[genes],
        gene_ids=base.gene_ids[genes],
        panel=np.searchsorted(genes, base.panel),
        section=base.spots("section")[rows],
        barcode=base.spots("barcode")[rows],
        donor=base.spots("donor")[rows],
        xy_l0=base.xy_l0()[rows],
        image_tower=base.tower("image"),
        expression_tower=base.tower("expression"),
        gene_columns={} if gone else {name: values[genes] for name, values in base.gene_columns().items()},
        other_towers=base.other_towers(),
        signature=signature_of_some(base.signature(), places),
        calibration=None if gone or calibration is None else calibration.of_genes(genes),
        looks=None if looks is None else looks.of_spots(rows),
    )
    records = tuple(base.info.sections[i] for i in places)
    findings = tuple(f for f in base.info.findings if f.where not in {record.id for record in gone})
    if gone:
        what = f"{counted(len(gone), 'section')} ({', '.join(r.id for r in gone)}) of {base.name} left out"
        findings = one_donor((*findings, Finding("sections-left-out", what)), records)
    info = replace(
        base.info,
        sections=records,
        parent_sha256=base.content_sha256,
        merged_sha256=(),
        findings=findings,
        reliability={} if gone else base.info.reliability,
    )
    return Built(info, arrays)
