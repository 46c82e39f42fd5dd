"""Growing a reference: new sections embedded by the towers of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.rows import StackedRows
from bleep_cli.base.text import counted
from bleep_cli.bundle.contents import BundleArrays, BundleInfo
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import rounded
from bleep_cli.choices import Device, GeneRule
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import see_sections
from bleep_cli.errors import ReferenceError, option
from bleep_cli.findings import Finding
from bleep_cli.genes.columns import gene_columns
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.reference.parts import (
    Built,
    embed_expression,
    one_donor,
    record_of,
    refuse_twice,
    repeat_by_section,
)
from bleep_cli.reference.same_spots import profiles, repeated
from bleep_cli.signatures.make import grow_signature
from bleep_cli.types import I64, Bool, Progress, Section, Str, no_progress

if TYPE_CHECKING:
    from scipy import sparse

MAX_ABSENT = 0.05  # of a bundle's genes, or of its panel, that may count as not detected in a new section
MAX_DROPPED = 0.5  # of a bundle's genes that new sections may cost it


@dataclass(frozen=True)
class Aligned:
    """A new section on the genes of a bundle."""

    section: Section
    expression: sparse.csr_matrix
    """CSR[n, g] log1p on all genes of the bundle; 0 where the section has no such gene."""
    absent: Bool
    """bool[g]: which genes it lacks."""


def grow_reference(
    base: Bundle,
    sections: Sequence[Section],
    *,
    genes: GeneRule = "shared",
    device: Device = "auto",
    progress: Progress = no_progress,
) -> Built:
    """``base`` plus new sections, embedded by its own towers; the base itself is left as it is.

    A gene of the base that a section lacks is left out of the whole, where ``genes`` is "shared", up to
    ``MAX_DROPPED`` of them. Where it is "base", and in the panel always, it counts as not detected there, up to
    ``MAX_ABSENT`` of them. Raises ``ReferenceError`` for a section that is already in, by its hash or by what was
    measured in its spots, or that lacks more genes.

    Where the expression tower saw batch-corrected expression, which newcomers do not have, all spots are looked up
    by their tiles from then on (``key`` "image").
    """
    refuse_twice({record.sha256: f"{base.name} (as {record.id})" for record in base.info.sections}, sections)
    names = {record.id for record in base.info.sections} & {s.id for s in sections}
    if names:
        raise ReferenceError(
            f"{base.name} has other sections named {', '.join(sorted(names))}; rename the new ones"
        )
    added = [align_genes(section, base) for section in sections]
    columns, told = _kept_genes(base, added, genes)
    _refuse_known(base, added)
    from scipy import sparse

    new = rounded(sparse.vstack([a.expression for a in added], format="csr"), base.info.expression_precision)
    embedder = embedder_of(base.tower("image"), device)
    image, seen = see_sections(sections, embedder, base.info.tile, base.info.views, progress)
    embedded = embed_expression(base.tower("expression"), new[:, base.panel])
    arrays = BundleArrays(
        image_embeddings=np.concatenate([base.embeddings("image"), image]),
        expression_embeddings=np.concatenate([base.embeddings("expression"), embedded]),
        # the base's stays on disk until it is copied
        expression=StackedRows([base.expression_rows(columns), new[:, columns]]),
        symbols=base.symbols[columns],
        gene_ids=base.gene_ids[columns],
        panel=np.searchsorted(columns, base.panel),
        section=np.concatenate([base.spots("section"), repeat_by_section(sections, [s.id for s in sections])]),
        barcode=np.concatenate([base.spots("barcode"), *(s.barcodes for s in sections)]),
        donor=np.concatenate([base.spots("donor"), repeat_by_section(sections, [s.donor for s in sections])]),
        xy_l0=np.concatenate([base.xy_l0(), *(s.xy_l0 for s in sections)]),
        image_tower=base.tower("image"),
        expression_tower=base.tower("expression"),
        other_towers=base.other_towers(),
        looks=base.looks(),
        signature=grow_signature(base.signature(), sections, len(base.info.sections), progress),
    )
    records = (*base.info.sections, *(record_of(s, False) for s in sections))
    findings = (*base.info.findings, *(finding for s in sections for finding in s.findings), *told)
    info = replace(
        base.info,
        sections=records,
        key=base.info.key if base.info.tower_input == "log1p" else "image",
        parent_sha256=base.content_sha256,
        merged_sha256=(),
        findings=one_donor((*findings, *_told_of_towers(base, sections)), records),
    )
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


def _told_of_towers(base: Bundle, sections: Sequence[Section]) -> list[Finding]:
    if base.info.tower_input == "log1p":
        return []
    what = (
        f"the expression tower saw batch-corrected expression, which {counted(len(sections), 'new section')} "
        f"({', '.join(s.id for s in sections)}) cannot have: all spots are looked up by their tiles (key image)"
    )
    return [Finding("towers-batch-corrected", what, mend="bleep build-reference of all sections fits new towers")]


def align_genes(section: Section, base: Bundle) -> Aligned:
    """A section's log1p expression on the genes of a bundle."""
    from scipy import sparse

    columns = gene_columns(section, base.symbols, base.gene_ids)
    absent = columns < 0
    normalised = log1p_normalise(section.counts, base.info.target_sum)
    padded = sparse.hstack(
        [normalised, sparse.csr_matrix((normalised.shape[0], 1), dtype=np.float32)], format="csr"
    )
    return Aligned(section, padded[:, np.where(absent, normalised.shape[1], columns)], absent)


def _kept_genes(base: Bundle, added: Sequence[Aligned], rule: GeneRule) -> tuple[I64, list[Finding]]:
    """i64[kept] columns of the base that the grown reference holds, and what to say of the others."""
    panel = np.zeros(len(base.symbols), bool)
    panel[base.panel] = True
    may_lack = panel if rule == "shared" else np.ones_like(panel)
    findings = []
    for each in added:
        filled = each.absent & may_lack
        if filled.sum() > MAX_ABSENT * may_lack.sum():
            of = f"genes of the panel of {base.name}" if rule == "shared" else f"genes of {base.name}"
            out = "" if rule == "shared" else f"leave them out with {option('genes')} shared, or "
            raise ReferenceError(
                f"section {each.section.id} lacks {int(filled.sum())} of the {int(may_lack.sum())} {of} (such as "
                f"{_some(base.symbols[filled])}); {out}build a new reference from all sections instead"
            )
        if filled.any():
            lacking = counted(int(filled.sum()), "gene is", "genes are")
            told = f"{lacking} not in its table and {'counts' if filled.sum() == 1 else 'count'} as not detected"
            findings.append(Finding("genes-absent", told, each.section.id))
    dropped = np.any([each.absent & ~may_lack for each in added], axis=0)
    if dropped.mean() > MAX_DROPPED:
        raise ReferenceError(
            f"the new sections lack {int(dropped.sum())} of the {len(dropped)} genes of {base.name} (such as "
            f"{_some(base.symbols[dropped])}); build a new reference from all sections instead"
        )
    if dropped.any():
        told = (
            f"{int(dropped.sum())} of {counted(len(dropped), 'gene')} of {base.name} left out, which not all new "
            f"sections measure ({_some(base.symbols[dropped])}); {option('genes')} base keeps them"
        )
        findings.append(Finding("genes-dropped", told))
    return np.flatnonzero(~dropped), findings


def _some(names: Str) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _refuse_known(base: Bundle, added: Sequence[Aligned]) -> None:
    """Raises ``ReferenceError`` for a section whose spots are in the base, whatever they are called."""
    panel = base.expression_rows(base.panel)
    known, seen = {}, base.spots("section")
    for each in added:
        measured = ~each.absent[base.panel]
        if measured.tobytes() not in known:
            known[measured.tobytes()] = profiles(panel, measured)
        twin = repeated(profiles(each.expression[:, base.panel], measured), known[measured.tobytes()], seen)
        if twin is not None:
            raise ReferenceError(
                f"section {each.section.id} is already in {base.name}: {twin.spots} of its {twin.of} spots were "
                f"measured as spots there (most as {twin.section}); leave it out, or remove {twin.section} first "
                "with bleep reference remove"
            )
