"""Several references of one pair of towers as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from bleep_cli.base.rows import PickedRows, StackedRows
from bleep_cli.base.text import counted
from bleep_cli.bundle.contents import BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.genes.names import strip_version
from bleep_cli.reference.parts import Built, described, one_donor, opened
from bleep_cli.reference.same_spots import profiles, repeated
from bleep_cli.signatures.make import merged_signature
from bleep_cli.towers.encoder import gives_as
from bleep_cli.types import F32, I64, Str

SETTINGS = ("k", "key", "aggregation", "recommended_views")
TEXTS = ("species", "licence", "citation")


@dataclass(frozen=True)
class Part:
    """What one bundle brings into the whole."""

    bundle: Bundle
    records: tuple[SectionRecord, ...]
    """Its sections that no part before it has."""
    columns: I64
    """i64[g] its columns of the genes that all parts have."""

    @property
    def rows(self) -> I64:
        """i64[n] the spots of these sections."""
        return np.flatnonzero(np.isin(self.bundle.spots("section"), [record.id for record in self.records]))


def merge_references(references: Sequence[Bundle | Path | str]) -> Built:
    """The sections of all bundles behind one another, on the genes that all of them hold.

    A section that several of them hold, as two that grew from one base do, is taken once. Settings are those of
    the first. Raises ``UsageError`` for fewer than two, ``ReferenceError`` for towers, tiles or counts per spot
    that differ, and for different sections of one name, or the same under several names.
    """
    if len(references) < 2:
        raise UsageError("name two bundles or more to merge")
    bundles = [opened(reference) for reference in references]
    first = bundles[0]
    for other in bundles[1:]:
        _refuse_other_towers(first, other)
    findings: list[Finding] = []
    columns = _shared_genes(bundles, findings)
    parts = list(_parts(bundles, columns, findings))
    signature, records, partly = first.signature(), parts[0].records, False
    for part in parts[1:]:
        new = iter(range(len(records), len(records) + len(part.records)))
        places = [next(new) if record in part.records else -1 for record in part.bundle.info.sections]
        joined = merged_signature(signature, part.bundle.signature(), places)
        partly |= joined is signature and bool(part.records)
        signature, records = joined, (*records, *part.records)
    if signature is not None and partly:
        findings.append(
            Finding("signature-part", f"the scale of slides is checked by sections of {first.name} alone")
        )
    alike = [bundle.tower("image") == first.tower("image") for bundle in bundles]
    looks = _looks(parts, alike)
    if looks is not None and not all(alike):
        findings.append(
            Finding("looks-part", f"strange tiles are told by those of {_named(bundles, alike)} alone")
        )
    panel = np.array([np.flatnonzero(columns[0] == c)[0] for c in first.panel], np.int64)
    arrays = BundleArrays(
        image_embeddings=_vectors(parts, "image"),
        expression_embeddings=_vectors(parts, "expression"),
        expression=StackedRows([PickedRows(p.bundle.expression_rows(p.columns), p.rows) for p in parts]),
        symbols=first.symbols[columns[0]],
        gene_ids=first.gene_ids[columns[0]],
        panel=panel,
        section=_names(parts, "section"),
        barcode=_names(parts, "barcode"),
        donor=_names(parts, "donor"),
        xy_l0=np.concatenate([part.bundle.xy_l0()[part.rows] for part in parts]),
        image_tower=first.tower("image"),
        expression_tower=first.tower("expression"),
        other_towers=reduce(
            lambda a, b: {**a, **b.other_towers()},
            [bundle for bundle, same in zip(reversed(bundles), reversed(alike), strict=True) if same],
            {},
        ),
        signature=signature,
        looks=looks,
    )
    return _described(Built(_info(bundles, records, findings), arrays), bundles)


def _refuse_other_towers(first: Bundle, other: Bundle) -> None:
    way_out = (
        "add the sections to one of them with bleep reference add, or build one reference from all of them with "
        "bleep build-reference"
    )
    for side in ("image", "expression"):
        if first.tower(side) != other.tower(side) and not (side == "image" and _embed_alike(first, other)):
            raise ReferenceError(
                f"{other.name} has another {side} tower than {first.name}, so that their embeddings cannot be "
                f"compared; {way_out}"
            )
    for name, what in (
        ("tile", "tiles"),
        ("target_sum", "counts per spot"),
        ("tower_input", "input of the expression tower"),
        ("views", "views of each tile"),
    ):
        ours, theirs = getattr(first.info, name), getattr(other.info, name)
        if ours != theirs:
            raise ReferenceError(
                f"{other.name} has other {what} than {first.name} ({theirs}, not {ours}); {way_out}"
            )


def _embed_alike(first: Bundle, other: Bundle) -> bool:
    """Whether their image towers are one, each with looks of its own beside it."""
    return gives_as(first.tower("image")) == gives_as(other.tower("image"))


def _named(bundles: Sequence[Bundle], kept: Sequence[bool]) -> str:
    return ", ".join(bundle.name for bundle, there in zip(bundles, kept, strict=True) if there)


def _shared_genes(bundles: Sequence[Bundle], findings: list[Finding]) -> list[I64]:
    """i64[g] of each bundle: its columns of the genes that all of them hold, in the order of the first."""
    found = [_columns_of(bundles[0], other) for other in bundles]
    shared = np.all([columns >= 0 for columns in found], axis=0)
    for other, columns in zip(bundles, found, strict=True):
        if not np.array_equal(columns[bundles[0].panel], other.panel):
            raise ReferenceError(f"{other.name} holds another panel than {bundles[0].name}")
    for bundle in bundles:
        lost = len(bundle.symbols) - int(shared.sum())
        if lost:
            told = f"{lost} of {counted(len(bundle.symbols), 'gene')} left out, which not all of the others hold"
            findings.append(Finding("genes-dropped", told, bundle.name))
    return [columns[shared] for columns in found]


def _columns_of(first: Bundle, other: Bundle) -> I64:
    """i64[g]: the column of ``other`` of each gene of ``first``, by id or else by symbol; -1 where it has none."""
    by_id = {strip_version(str(gene)): i for i, gene in enumerate(other.gene_ids)}
    by_symbol = {str(symbol): i for i, symbol in enumerate(other.symbols)}
    pairs = zip(first.gene_ids, first.symbols, strict=True)
    return np.array([by_id.get(strip_version(str(g)), by_symbol.get(str(s), -1)) for g, s in pairs], np.int64)


def _parts(bundles: Sequence[Bundle], columns: Sequence[I64], findings: list[Finding]) -> Iterator[Part]:
    """What each bundle brings; raises ``ReferenceError`` for sections that cannot stand beside the others."""
    before: list[Part] = []
    for bundle, genes in zip(bundles, columns, strict=True):
        known = {record.id: (part.bundle, record) for part in before for record in part.records}
        new, shared = [], []
        for record in bundle.info.sections:
            there = known.get(record.id)
            if there is None:
                new.append(record)
            elif (record.sha256, record.n, record.donor) == (there[1].sha256, there[1].n, there[1].donor):
                shared.append(record.id)
            else:
                raise ReferenceError(
                    f"{bundle.name} and {there[0].name} have different sections named {record.id}; remove one of "
                    "them with bleep reference remove, or build it again under another name"
                )
        if shared:
            told = f"{counted(len(shared), 'section')} ({', '.join(shared)}) that those before it have taken once"
            findings.append(Finding("sections-shared", told, bundle.name))
        part = Part(bundle, tuple(new), genes)
        for other in before:
            _refuse_same(part, other)
        donors = {r.donor for p in before for r in p.records} & {r.donor for r in new}
        if donors:
            told = f"donors of one name ({', '.join(sorted(donors))}) are taken for the same as in those before it"
            findings.append(Finding("donor-shared", told, bundle.name))
        before.append(part)
        yield part


def _refuse_same(part: Part, other: Part) -> None:
    """Raises ``ReferenceError`` for a section of ``part`` that ``other`` has under another name."""
    twin = _twin(part, other)
    if twin is not None:
        raise ReferenceError(
            f"section {twin[0]} of {part.bundle.name} is section {twin[1]} of {other.bundle.name}; remove one of "
            "them with bleep reference remove"
        )


def _twin(part: Part, other: Part) -> tuple[str, str] | None:
    """Ids of a section of ``part`` and of the same one of ``other``, by its hash or by what was measured."""
    hashes = {record.sha256: record.id for record in other.records}
    for record in part.records:
        if record.sha256 in hashes:
            return record.id, hashes[record.sha256]
    measured = np.ones(len(part.bundle.panel), bool)
    of_other, of_part = (p.bundle.spots("section") for p in (other, part))
    known = profiles(PickedRows(other.bundle.expression_rows(other.bundle.panel), other.rows), measured)
    panel = part.bundle.expression_rows(part.bundle.panel)
    for record in part.records:
        new = profiles(PickedRows(panel, np.flatnonzero(of_part == record.id)), measured)
        found = repeated(new, known, of_other[other.rows])
        if found is not None:
            return record.id, found.section
    return None


def _vectors(parts: Sequence[Part], key: str) -> F32:
    return np.concatenate([part.bundle.embeddings(key)[part.rows] for part in parts])  # type: ignore[arg-type]


def _looks(parts: Sequence[Part], alike: Sequence[bool]) -> Looks | None:
    """Those of all parts whose towers tell the ``alike``; the distances are of the first, and have to be computed
    anew."""
    found = [
        looks.of_spots(part.rows) if same and (looks := part.bundle.looks()) else None
        for part, same in zip(parts, alike, strict=True)
    ]
    there = [looks for looks in found if looks is not None]
    wanted = sum(same and bool(part.records) for part, same in zip(parts, alike, strict=True))
    if len(there) < wanted or not there:
        return None
    firsts = np.cumsum([0, *(len(part.rows) for part in parts)])
    spots = [looks.spot + first for looks, first in zip(found, firsts[:-1], strict=True) if looks is not None]
    return replace(there[0], tiles=np.concatenate([looks.tiles for looks in there]), spot=np.concatenate(spots))


def _names(parts: Sequence[Part], column: str) -> Str:
    return np.concatenate([part.bundle.spots(column)[part.rows] for part in parts])  # type: ignore[arg-type]


def _info(bundles: Sequence[Bundle], records: tuple[SectionRecord, ...], told: list[Finding]) -> BundleInfo:
    first = bundles[0].info
    differing = [name for name in SETTINGS if any(getattr(b.info, name) != getattr(first, name) for b in bundles)]
    if differing:
        told.append(
            Finding("settings-of-first", f"{', '.join(differing)} as in {bundles[0].name}; the others differ")
        )
    earlier = dict.fromkeys(finding for bundle in bundles for finding in bundle.info.findings)
    by_tiles = first.tower_input != "log1p" and any(bundle.info.key == "image" for bundle in bundles)
    exact = any(bundle.info.expression_precision == "f32" for bundle in bundles)
    return replace(
        first,
        sections=records,
        parent_sha256=bundles[0].content_sha256,
        merged_sha256=tuple(bundle.content_sha256 for bundle in bundles[1:]),
        key="image" if by_tiles else first.key,  # one of them has spots without batch-corrected expression
        expression_precision="f32" if exact else "f16",
        reliability={},
        findings=one_donor((*earlier, *told), records),
    )


def _described(built: Built, bundles: Sequence[Bundle]) -> Built:
    """The same with what the further bundles say of species, terms and use behind what the first says."""
    for bundle in bundles[1:]:
        built = described(built, {name: getattr(bundle.info, name) for name in TEXTS})
    uses = dict.fromkeys(bundle.info.intended_use for bundle in bundles)
    return replace(built, info=replace(built.info, intended_use=" ".join(uses)))
