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
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.reasons import reason
from bleep_cli.cohort.formats import RawSection, read_h5ad, read_spaceranger, read_st
from bleep_cli.cohort.hest import hest_entry
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.genes.names import strip_version, sum_duplicates
from bleep_cli.types import F64, Progress, Section, Str, no_progress

if TYPE_CHECKING:
    from scipy import sparse

SOURCES = ("spaceranger", "h5ad", "counts", "hest")
TEXTS = ("species", "licence", "citation")
KEYS = {"id", "donor", "image", "mpp", *SOURCES, "layer", "positions", "genes"}


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
    entries = checked_entries(_table(path).get("section", []), path.name)
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
    known = ("section", *TEXTS)
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ReferenceError(f"{path.name}: unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    wrong = [name for name in TEXTS if not isinstance(table.get(name, ""), str)]
    if wrong:
        raise ReferenceError(f"{path.name}: {', '.join(wrong)} must be in quotes")
    return table


def checked_entries(entries: Any, where: str) -> list[dict[str, Any]]:
    """``[[section]]`` tables whose keys go together, or ``ReferenceError``; ``where`` names their file."""
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ReferenceError(f"{where}: no [[section]] in it")
    for number, entry in enumerate(entries, 1):
        _check_entry(entry, f"{where}, section {entry.get('id', number)}")
    ids = [entry["id"] for entry in entries]
    if len(set(ids)) != len(ids):
        raise ReferenceError(f"{where}: two sections have the same id")
    return entries


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
    wrong = [key for key in set(entry) - {"mpp"} if not isinstance(entry[key], str)]
    if wrong:
        raise ReferenceError(f"{where}: {', '.join(sorted(wrong))} must be in quotes")
    mpp = entry.get("mpp", 1.0)
    if isinstance(mpp, bool) or not isinstance(mpp, int | float) or not mpp > 0:
        raise ReferenceError(f"{where}: mpp must be a positive number")


def read_section(entry: dict[str, Any], base: Path) -> Section:
    """One ``[[section]]`` table → ``Section``; spots without counts, position or any molecule are dropped."""
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
    notes = list(raw.notes)
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
        notes.append(f"{merged} duplicate genes were added up")
    symbols = raw.symbols[first]
    versioned = raw.gene_ids[first]
    symbols = np.where(symbols == versioned, gene_ids, symbols)
    full = np.asarray(counts.sum(axis=1)).ravel() > 0
    if not full.all():
        notes.append(f"{int((~full).sum())} spots without a single molecule were dropped")
    if not full.any():
        raise ReferenceError(f"{where}: no spot has both counts and a position; notes: {'; '.join(notes)}")
    counts = counts[full]
    counts.sum_duplicates()  # one way to store the same numbers: the identity is of these
    counts.eliminate_zeros()
    barcodes, xy_l0 = raw.barcodes[full], np.ascontiguousarray(raw.xy_l0[full], dtype=np.float64)
    return Section(
        id=entry["id"],
        donor=entry["donor"],
        sha256=_digest(counts, gene_ids, barcodes, xy_l0),
        counts=counts,
        symbols=symbols,
        gene_ids=gene_ids,
        barcodes=barcodes,
        xy_l0=xy_l0,
        image=image,
        mpp=entry.get("mpp"),
        notes=tuple(notes),
    )


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
    return RawSection(raw.counts, raw.gene_ids, symbols, raw.barcodes, raw.xy_l0, raw.notes)
