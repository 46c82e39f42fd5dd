"""Sections with measured expression: the cohort file and its readers.

A cohort file is TOML; paths in it are relative to it::

    species = "Homo sapiens"                    # optional, as are licence and citation: texts for the bundle

    [[section]]
    id = "C5"
    donor = "C"
    image = "images/C5.jpg"
    mpp = 0.69                                  # optional if the image states it
    counts = "counts/C5.tsv.gz"                 # ST tables: rows <x>x<y>, columns genes ...
    positions = "spots/C5_selection.tsv"        # ... with their positions
    # or: spaceranger = "outs"                  # filtered_feature_bc_matrix(.h5) and spatial/
    # or: h5ad = "C5.h5ad"                      # raw counts, obsm["spatial"] (x, y) in level-0 px
    # layer = "counts"                          # of the h5ad, where X is not raw
    # or: hest = "hest_data"                    # HEST-1k folder: counts, image, mpp and donor of this id
    # genes = "genes.tsv.gz"                    # optional: gene_id, gene_name
    # min_counts = 50                           # spots with fewer counts are left out; 0 keeps all

``min_counts`` above the first ``[[section]]`` is that of every section which names none of its own. Without it,
spots are left out that have fewer than 100 counts and less than a tenth of their section's median: a molecule
alone is log1p(10,000) = 9.2 after normalisation, and such a spot says nothing but that. This takes 0 to 2 of the
180 to 346 spots of a her2st section, none of 786 and 3 of 501 of mouse olfactory bulbs, and of a Visium section
with a median of 226 counts 26 of 2,898, where 100 alone would take 574.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.reasons import reason
from bleep_cli.cohort.formats import RawSection, read_h5ad, read_spaceranger, read_st
from bleep_cli.cohort.hest import hest_entry
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.genes.names import strip_version, sum_duplicates
from bleep_cli.types import F64, Bool, Progress, Section, Str, no_progress

if TYPE_CHECKING:
    from scipy import sparse

SOURCES = ("spaceranger", "h5ad", "counts", "hest")
TEXTS = ("species", "licence", "citation")
FOR_ALL = ("min_counts",)  # above the sections, these stand for every section that names none of its own
BENCH = "bench"  # a table of a task of HEST-Bench, which nothing reads here
KEYS = {"id", "donor", "image", "mpp", *SOURCES, "layer", "positions", "genes", *FOR_ALL}
MOST_LEFT_OUT, OF_MEDIAN = 100.0, 0.1  # counts of a spot below both of which it is left out, where nobody says


def read_cohort(
    path: Path | str, *, only: Sequence[str] | None = None, progress: Progress = no_progress
) -> list[Section]:
    """The sections of a cohort file, in its order; ``only`` keeps those ids.

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
        sections.append(read_section(entry, path.parent))
    progress("sections", len(chosen), len(chosen))
    return sections


def cohort_entries(path: Path) -> list[dict[str, Any]]:
    """The ``[[section]]`` tables, checked for their keys but with nothing of theirs opened but HEST's metadata: a
    section of HEST comes back as one of ``h5ad``."""
    table = _table(path)
    for_all = {key: table[key] for key in FOR_ALL if key in table}
    entries = checked_entries(table.get("section", []), path.name, for_all)
    return [hest_entry(entry, path.parent) if "hest" in entry else entry for entry in entries]


def cohort_texts(path: Path | str) -> dict[str, str]:
    """What a cohort file says of species, licence and citation, by these names.

    Raises ``UsageError`` for a file that is not there, ``ReferenceError`` for one that is broken.
    """
    table = _table(Path(path))
    return {name: table[name] for name in TEXTS if name in table}


def _table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path.name}: no such cohort file")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ReferenceError(f"{path.name}: not valid TOML ({error})") from error
    known = ("section", *TEXTS, *FOR_ALL, BENCH)
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ReferenceError(f"{path.name}: unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    wrong = [name for name in TEXTS if not isinstance(table.get(name, ""), str)]
    if wrong:
        raise ReferenceError(f"{path.name}: {', '.join(wrong)} must be in quotes")
    return table


def checked_entries(entries: Any, where: str, for_all: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """``[[section]]`` tables whose keys go together, or ``ReferenceError``.

    ``where`` names their file; ``for_all`` are keys of every section that has none of its own.
    """
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ReferenceError(f"{where}: no [[section]] in it")
    tables: list[dict[str, Any]] = [{**(for_all or {}), **entry} for entry in entries]
    for number, entry in enumerate(tables, 1):
        _check_entry(entry, f"{where}, section {entry.get('id', number)}")
    ids = [entry["id"] for entry in tables]
    if len(set(ids)) != len(ids):
        raise ReferenceError(f"{where}: two sections have the same id")
    return tables


def _check_entry(entry: dict[str, Any], where: str) -> None:
    unknown = set(entry) - KEYS
    if unknown:
        raise ReferenceError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; known are {', '.join(sorted(KEYS))}"
        )
    missing = ({"id"} if "hest" in entry else {"id", "donor", "image"}) - set(entry)
    if missing:
        raise ReferenceError(f"{where}: {', '.join(sorted(missing))} missing")
    sources = [source for source in SOURCES if source in entry]
    if len(sources) != 1:
        raise ReferenceError(f"{where}: give exactly one of {', '.join(SOURCES)}")
    if sources == ["counts"] and "positions" not in entry:
        raise ReferenceError(f"{where}: counts need positions")
    unused = {"layer": "h5ad", "positions": "counts"} if sources != ["hest"] else {"positions": "counts"}
    for key, source in unused.items():
        if key in entry and source not in entry:
            raise ReferenceError(f"{where}: {key} goes with {source}, not with {sources[0]}")
    wrong = [key for key in set(entry) - {"mpp", "min_counts"} if not isinstance(entry[key], str)]
    if wrong:
        raise ReferenceError(f"{where}: {', '.join(sorted(wrong))} must be in quotes")
    mpp = entry.get("mpp", 1.0)
    if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not mpp > 0:
        raise ReferenceError(f"{where}: mpp must be a positive number")
    least = entry.get("min_counts", 0)
    if isinstance(least, bool) or not isinstance(least, int) or least < 0:
        raise ReferenceError(f"{where}: min_counts must be a whole number, 0 (keeps every spot) or more")


def read_section(entry: dict[str, Any], base: Path) -> Section:
    """One ``[[section]]`` table → ``Section``; spots without position, or of too few counts, are dropped."""
    where = f"section {entry['id']}"
    entry = hest_entry(entry, base) if "hest" in entry else entry
    reader: Callable[[dict[str, Any], Path], RawSection] = (
        read_spaceranger if "spaceranger" in entry else read_h5ad if "h5ad" in entry else read_st
    )
    try:
        raw = reader(entry, base)
    except UsageError as error:  # positions that cannot be read are the cohort's fault here
        raise ReferenceError(f"{where}: {error.text}", origin="cohort file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReferenceError(f"{where}: cannot be read ({reason(error)})") from error
    image = base / entry["image"]
    if not image.is_file():
        raise ReferenceError(f"{where}: no image {image.name}")
    if "genes" in entry:
        raw = _named(raw, base / entry["genes"], where)
    return _finish(raw, entry, str(image), where)


def _finish(raw: RawSection, entry: dict[str, Any], image: str, where: str) -> Section:
    findings = list(raw.findings)

    counts = raw.counts.astype(np.float32)
    if counts.nnz and not np.isfinite(counts.data).all():
        raise ReferenceError(f"{where}: counts hold NaN or infinity")
    if counts.nnz and ((counts.data < 0).any() or (counts.data % 1 != 0).any()):
        raise ReferenceError(
            f'{where}: these are no raw counts (negative or fractional); name the raw layer with layer = "counts"'
        )
    if raw.xy_l0.shape[1] != 2 or not np.isfinite(raw.xy_l0).all():
        raise ReferenceError(f"{where}: spot coordinates must be two numbers, x and y")
    bare = np.array([strip_version(g) for g in raw.gene_ids], dtype=str)
    counts, gene_ids, first, merged = sum_duplicates(counts, bare)
    if merged:
        findings.append(Finding("genes-merged", f"{merged} duplicate genes were added up"))
    symbols = raw.symbols[first]
    versioned = raw.gene_ids[first]
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
        findings=tuple(replace(f, where=entry["id"], origin="cohort file") for f in findings),
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


def _named(raw: RawSection, path: Path, where: str) -> RawSection:
    """Symbols for bare gene ids from a table ``gene_id``, ``gene_name``."""
    import pandas as pd

    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        name_of = {strip_version(g): n for g, n in zip(table["gene_id"], table["gene_name"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise ReferenceError(
            f"{where}: {path.name} is no table of gene_id, gene_name ({reason(error)})"
        ) from error
    symbols = np.array([name_of.get(strip_version(g)) or g for g in raw.gene_ids], dtype=str)
    return RawSection(raw.counts, raw.gene_ids, symbols, raw.barcodes, raw.xy_l0, raw.findings)
