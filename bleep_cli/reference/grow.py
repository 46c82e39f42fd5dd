"""Growing a reference: new sections embedded by the towers of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.rows import StackedRows
from bleep_cli.base.text import counted
from bleep_cli.bundle.contents import BundleArrays, BundleInfo
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import rounded
from bleep_cli.choices import Device
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import see_sections
from bleep_cli.errors import ReferenceError, option
from bleep_cli.findings import Finding
from bleep_cli.genes.columns import gene_columns
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.reference.parts import Built, embed_expression, record_of, refuse_twice, repeat_by_section
from bleep_cli.signatures.make import grow_signature
from bleep_cli.types import Progress, Section, no_progress

if TYPE_CHECKING:
    from scipy import sparse

MAX_ABSENT = 0.05  # of a bundle's genes that a section may lack and still be added to it


def grow_reference(
    base: Bundle, sections: Sequence[Section], *, device: Device = "auto", progress: Progress = no_progress
) -> Built:
    """``base`` plus new sections, embedded by its own towers; the base itself is left as it is.

    A gene of the base that a section lacks counts as not detected there, up to ``MAX_ABSENT`` of them.
    Raises ``ReferenceError`` for a section that is already in, that lacks more genes, or for a base whose
    expression tower saw batch-corrected data, which newcomers do not have.
    """
    if base.info.tower_input != "log1p":
        raise ReferenceError(
            f"{option('base')} {base.name}: its expression tower saw batch-corrected expression, so spots cannot "
            "be added; train without harmony, or build from all sections"
        )
    refuse_twice({record.sha256: f"{base.name} (as {record.id})" for record in base.info.sections}, sections)
    names = {record.id for record in base.info.sections} & {s.id for s in sections}
    if names:
        raise ReferenceError(
            f"{base.name} has other sections named {', '.join(sorted(names))}; rename the new ones"
        )
    from scipy import sparse

    findings = [*base.info.findings, *(finding for s in sections for finding in s.findings)]
    added = []
    for section in sections:
        aligned, told = align_genes(section, base)
        added.append(aligned)
        findings += told
    new = rounded(sparse.vstack(added, format="csr"), base.info.expression_precision)
    embedder = embedder_of(base.tower("image"), device)
    image, seen = see_sections(sections, embedder, base.info.tile, base.info.views, progress)
    embedded = embed_expression(base.tower("expression"), new[:, base.panel])
    arrays = BundleArrays(
        image_embeddings=np.concatenate([base.embeddings("image"), image]),
        expression_embeddings=np.concatenate([base.embeddings("expression"), embedded]),
        expression=StackedRows([base.expression_rows(), new]),  # the base's stays on disk until it is copied
        symbols=base.symbols,
        gene_ids=base.gene_ids,
        panel=base.panel,
        section=np.concatenate([base.spots("section"), repeat_by_section(sections, [s.id for s in sections])]),
        barcode=np.concatenate([base.spots("barcode"), *(s.barcodes for s in sections)]),
        donor=np.concatenate([base.spots("donor"), repeat_by_section(sections, [s.donor for s in sections])]),
        xy_l0=np.concatenate([base.xy_l0(), *(s.xy_l0 for s in sections)]),
        image_tower=base.tower("image"),
        expression_tower=base.tower("expression"),
        gene_columns=base.gene_columns(),
        other_towers=base.other_towers(),
        looks=base.looks(),
        signature=grow_signature(base.signature(), sections, len(base.info.sections), progress),
    )
    records = (*base.info.sections, *(record_of(s) for s in sections))
    info = replace(base.info, sections=records, parent_sha256=base.content_sha256, findings=tuple(findings))
    looks = seen if embedder.encoder.looks else None
    return Built(_texts_of_the_first(info, len(base.info.sections)), arrays, looks)


def _texts_of_the_first(info: BundleInfo, count: int) -> BundleInfo:
    """The same where the base was made for something of its own (the demo is synthetic): what it says of species
    and use is said of the spots of its ``count`` sections alone, and warned of."""
    plain, own = BundleInfo.intended_use, info.intended_use
    if own == plain:
        return info
    spots, of_all = (sum(record.n for record in records) for records in (info.sections[:count], info.sections))
    what = f"{spots} of {of_all} spots are of the base, which says of itself: {own}"
    return replace(
        info,
        species=f"{info.species} ({spots} of {of_all} spots)" if info.species else "",
        intended_use=f"{plain} {what}",
        findings=(*info.findings, Finding("base-of-other-use", what)),
    )


def align_genes(section: Section, base: Bundle) -> tuple[sparse.csr_matrix, list[Finding]]:
    """log1p expression CSR[n, g] of a section on the genes of a bundle, and what to say of absent ones."""
    from scipy import sparse

    columns = gene_columns(section, base.symbols, base.gene_ids)
    absent = columns < 0
    if absent.mean() > MAX_ABSENT:
        raise ReferenceError(
            f"section {section.id} lacks {int(absent.sum())} of the {len(columns)} genes of {base.name} "
            f"(such as {', '.join(base.symbols[absent][:3])}); build a new reference from all sections instead"
        )
    normalised = log1p_normalise(section.counts, base.info.target_sum)
    padded = sparse.hstack(
        [normalised, sparse.csr_matrix((normalised.shape[0], 1), dtype=np.float32)], format="csr"
    )
    lacking = counted(int(absent.sum()), "gene is", "genes are")
    told = f"{lacking} not in its table and {'counts' if absent.sum() == 1 else 'count'} as not detected"
    findings = [Finding("genes-absent", told, section.id)] if absent.any() else []
    return padded[:, np.where(absent, normalised.shape[1], columns)], findings
