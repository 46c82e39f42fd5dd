"""Sections with measured expression, read: what holds for every format is checked here, once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli import limits
from bleep_cli.base.reasons import reason
from bleep_cli.cohort.cohort_file import cohort_entries, filled
from bleep_cli.cohort.parts.plane import NO_FACTORS, spot_plane
from bleep_cli.cohort.parts.reader import RawSection
from bleep_cli.cohort.place import on_picture
from bleep_cli.cohort.readers.registry import reader_for, source_of
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.genes.features import Genes, genes_of, is_missing
from bleep_cli.genes.names import strip_version, sum_duplicates
from bleep_cli.limits import over
from bleep_cli.types import F64, Bool, Progress, Section, SpotPlane, Str, no_progress

if TYPE_CHECKING:
    from scipy import sparse

MOST_LEFT_OUT, OF_MEDIAN = 100.0, 0.1  # counts of a spot below both of which it is left out, where nobody says


def read_cohort(
    path: Path | str, *, only: Sequence[str] | None = None, progress: Progress = no_progress
) -> list[Section]:
    """The sections of a cohort file, in its order, spots compared with their images; ``only`` keeps those ids.

    Raises ``ReferenceError`` for a broken file or section, ``UsageError`` for a file or id that is not there.
    """
    path = Path(path)
    entries = cohort_entries(path)
    ids = [entry["id"] for entry in entries]
    unknown = [i for i in only or () if i not in ids]
    if unknown:
        raise UsageError(f"{path.name} has no section {', '.join(unknown)}; it has {', '.join(ids)}")
    chosen = [entry for entry in entries if only is None or entry["id"] in only]
    sections = []
    for i, entry in enumerate(chosen):
        progress("sections", i, len(chosen))
        sections.append(on_picture(read_section(entry, path.parent)))
    progress("sections", len(chosen), len(chosen))
    return sections


def sections_of(
    cohort: Path | str | Sequence[Section], only: Sequence[str] | None, progress: Progress = no_progress
) -> Sequence[Section]:
    """The same of a cohort file, or of sections that were read."""
    if isinstance(cohort, Path | str):
        return read_cohort(cohort, only=only, progress=progress)
    return cohort if only is None else [section for section in cohort if section.id in only]


def read_section(entry: dict[str, Any], base: Path) -> Section:
    """One ``[[section]]`` table → ``Section``; spots without position, or of too few counts, are dropped.

    Its image is not opened: :func:`bleep_cli.cohort.place.on_picture` puts the spots into its pixels.
    """
    where = f"section {entry['id']}"
    entry = filled(entry, base)
    source = source_of(entry, base)
    try:
        raw = reader_for(source).read(source)
        _check_names(raw)
        genes = genes_of(raw.features, entry.get("genome"))
    except (UsageError, ReferenceError) as error:  # positions that cannot be read are the cohort's fault here
        raise ReferenceError(f"{where}: {error.text}", origin="cohort file") from error
    except MemoryError as error:
        raise ReferenceError(f"{where}: there is not enough memory to read it") from error
    except Exception as error:  # the door: whatever a library says of a broken file ends here
        told = reason(error).replace(
            f"{source.path.parent}{os.sep}", ""
        )  # libraries name files by their whole path
        raise ReferenceError(f"{where}: cannot be read ({told})") from error
    image = source.file("image")
    if not image.is_file():
        raise ReferenceError(f"{where}: no image {image.name}")
    if "genes" in entry:
        genes = genes._replace(symbols=_symbols(genes.ids, source.file("genes"), where))
    return _finish(raw, genes, entry, str(image), where)


def _check_names(raw: RawSection) -> None:
    """Raises ``ValueError`` unless each spot and each feature of the counts has a name, and each spot a place."""
    named = (len(raw.barcodes), len(raw.features.ids))
    if raw.counts.shape != named or len(raw.xy_l0) != named[0]:
        rows, columns = raw.counts.shape
        raise ValueError(f"counts of {rows:,} spots × {columns:,} genes, but {named[0]:,} and {named[1]:,} names")


def _finish(raw: RawSection, genes: Genes, entry: dict[str, Any], image: str, where: str) -> Section:
    findings = [*raw.findings, *genes.findings]
    counts = raw.counts if len(genes.columns) == raw.counts.shape[1] else raw.counts[:, genes.columns]
    counts = counts.astype(np.float32)
    _check_counts(counts, where)
    if counts.nnz and ((counts.data < 0).any() or (counts.data % 1 != 0).any()):
        raise ReferenceError(f"{where}: these are no raw counts (negative or fractional){raw.raw_counts}")
    if raw.xy_l0.shape[1] != 2 or not np.isfinite(raw.xy_l0).all():
        raise ReferenceError(f"{where}: spot coordinates must be two numbers, x and y")
    bare = np.array([strip_version(g) for g in genes.ids.tolist()], dtype=str)
    counts, gene_ids, first, merged = sum_duplicates(counts, bare)
    if merged:
        findings.append(Finding("genes-merged", f"{merged} duplicate genes were added up"))
    symbols, versioned = genes.symbols[first], genes.ids[first]
    symbols = np.where(symbols == versioned, gene_ids, symbols)
    full = _totals(counts) > 0
    if not full.all():
        empty = int((~full).sum())
        findings.append(Finding("spots-empty", f"{empty} spots without a single molecule were dropped"))
    if not full.any():
        raise ReferenceError(f"{where}: no spot has both counts and a position; {'; '.join(map(str, findings))}")
    counts = counts[full]
    counts.sum_duplicates()  # one way to store the same numbers: the identity is of these
    counts.eliminate_zeros()
    barcodes, xy_l0 = raw.barcodes[full], np.ascontiguousarray(raw.xy_l0[full], dtype=np.float64)
    kept = _enough(_totals(counts), entry, findings, where)
    return Section(
        id=entry["id"],
        donor=entry["donor"],
        sha256=_digest(counts, gene_ids, barcodes, xy_l0),  # of all spots, however few of them are kept
        counts=counts[kept],
        symbols=symbols,
        gene_ids=gene_ids,
        barcodes=barcodes[kept],
        xy_l0=xy_l0[kept],
        image=image,
        mpp=entry.get("mpp"),
        scene=entry.get("scene"),
        findings=tuple(replace(f, where=entry["id"], origin="cohort file") for f in findings),
        plane=_plane(raw, entry),
    )


def _check_counts(counts: sparse.csr_matrix, where: str) -> None:
    """Raises ``ReferenceError`` for values, or for more of them, than counts can be."""
    for size, what, limit in ((counts.shape[0], "spots", "MOST_SPOTS"), (counts.shape[1], "genes", "MOST_GENES")):
        if size > getattr(limits, limit):
            raise ReferenceError(f"{where}: {over(f'{size:,} {what}', limit)}")
    if counts.nnz and not np.isfinite(counts.data).all():
        raise ReferenceError(f"{where}: counts hold NaN or infinity")
    if counts.nnz and counts.data.max() > limits.MOST_COUNT:
        raise ReferenceError(f"{where}: {over(f'a count of {counts.data.max():g}', 'MOST_COUNT')}")


def _plane(raw: RawSection, entry: dict[str, Any]) -> SpotPlane:
    """The plane of the positions, with what the cohort file says of it."""
    plane = raw.plane or spot_plane(raw.xy_l0, NO_FACTORS)
    scale = entry.get("image_scale")
    return replace(
        plane, image_scale=None if scale is None else float(scale), orientation=entry.get("orientation", "")
    )


def _totals(counts: sparse.csr_matrix) -> F64:
    """Counts of each spot, f64[n]."""
    return np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()


def _enough(totals: F64, entry: dict[str, Any], findings: list[Finding], where: str) -> Bool:
    """Which spots have as many counts as ``min_counts`` asks for; tells of the others in ``findings``."""
    least = entry.get("min_counts", min(MOST_LEFT_OUT, OF_MEDIAN * float(np.median(totals))))
    kept: Bool = totals >= least
    if not kept.any():
        raise ReferenceError(
            f"{where}: no spot has {least} counts, the most are {totals.max():g}; lower min_counts"
        )
    if not kept.all():
        told = f"{int((~kept).sum())} of {len(kept)} spots with fewer than {least:g} counts were left out"
        findings.append(Finding("spots-few-counts", told, mend="min_counts = 0 in the cohort file keeps them"))
    return kept


def _digest(counts: sparse.csr_matrix, genes: Str, barcodes: Str, xy_l0: F64) -> str:
    """Identity of a section's data, whatever its files or its id are called."""
    digest = hashlib.sha256()
    for array in (
        counts.indptr.astype("<i8"),
        counts.indices.astype("<i8"),
        counts.data.astype("<f4"),
        xy_l0,
    ):
        digest.update(np.ascontiguousarray(array).tobytes())
    for names in (genes, barcodes):
        digest.update("\n".join(names).encode())
    return digest.hexdigest()


def _symbols(gene_ids: Str, path: Path, where: str) -> Str:
    """str[g] symbols for gene ids from a table ``gene_id``, ``gene_name``; the id where it has none."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8-sig")
        name_of = {strip_version(g): n for g, n in zip(table["gene_id"], table["gene_name"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise ReferenceError(
            f"{where}: {path.name} is no table of gene_id, gene_name ({reason(error)})"
        ) from error
    named = ((g, name_of.get(strip_version(g), "")) for g in gene_ids.tolist())
    return np.array([gene if is_missing(name) else name for gene, name in named], dtype=str)
