"""Anyone's predictions as a method: read from a file and matched to a fold's held-out spots and genes.

``external:FILE`` or ``external:NAME=FILE``; FILE may be a folder with a file per section, named by its id. What
the values are is told by the kind, or found and told:

| kind | values |
| --- | --- |
| ``external-log1p`` | log1p of counts per the study's target sum, as truth is |
| ``external-cpm`` | log1p of counts per million; brought to the target sum |
| ``external-counts`` | counts or expected counts; normalised over all genes of the file |
| ``external`` | whichever of these the values can be; what was found is written under the table |

Who made such a file, and whether the held-out sections were left out, is not known here: its maker has to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import sparse

from bleep_cli.base.hashing import fingerprint
from bleep_cli.cohort.pitch import pitch
from bleep_cli.errors import UsageError, option
from bleep_cli.genes.columns import gene_columns
from bleep_cli.genes.names import is_ensembl, strip_version
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.types import F32, F64, I64, Section, Str
from bleep_train.methods.external_file import SECTIONS, TABLES, Foreign, read_foreign
from bleep_train.methods.folds import CohortFold

Values = Literal["found", "log1p", "cpm", "counts"]
KINDS: dict[str, Values] = {
    "external": "found",
    "external-log1p": "log1p",
    "external-cpm": "cpm",
    "external-counts": "counts",
}
EXTERNAL = "external"
MISSING_SPOTS = 0.05  # a larger share of a section is an error
MILLION = 1e6


@dataclass(frozen=True)
class External:
    """Predictions in a file, as a method of a study."""

    name: str
    """``external:NAME``"""
    path: Path
    """The file, or a folder of files named by section."""
    values: Values
    """What they are, or that it is to be found."""

    def digest(self) -> str:
        """Tells one content of the file from another. Raises ``UsageError`` where it is not there."""
        if not self.path.exists():
            raise UsageError(f"{option('methods')} {self.name}: no file {self.path.name}")
        return str(fingerprint(self.path)["sha256"]) + self.values

    def predict(self, data: CohortFold) -> tuple[F32, list[str]]:
        """f32[m, g] log1p on the fold's spots and genes, NaN columns for genes that are not predicted, and what is
        to be told of it. Raises ``UsageError`` for a file that does not fit."""
        parts, told = [], []
        for section in data.held_out:
            foreign, alone = self._read(section)
            one, notes = _matched(foreign, section, data, self.values, alone)
            parts.append(one)
            told += [f"{section.id}: {note}" for note in notes]
        return np.concatenate(parts), told

    def _read(self, section: Section) -> tuple[Foreign, bool]:
        """The file that holds a section, and whether it holds that section alone."""
        if not self.path.is_dir() or _is_store(self.path):
            return read_foreign(self.path), False
        forms = (".h5ad", ".zarr", *TABLES)
        files = [self.path / f"{section.id}{form}" for form in forms]
        found = [file for file in files if file.exists()]
        if len(found) != 1:
            what = "two files" if found else "no file"
            raise UsageError(f"{option('methods')} {self.name}: {self.path.name} holds {what} for {section.id}")
        return read_foreign(found[0]), True


def split_external(methods: Sequence[str]) -> tuple[tuple[str, ...], tuple[External, ...]]:
    """Names of methods, those of files shortened to ``external:NAME``, and the files."""
    files = {method: _parsed(method) for method in methods if method.partition(":")[0] in KINDS}
    names = [one.name for one in files.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{option('methods')} {', '.join(twice)}: twice; name them, {EXTERNAL}:NAME=FILE")
    listed = tuple(files[method].name if method in files else method for method in methods)
    return listed, tuple(files.values())


def _parsed(method: str) -> External:
    kind, _, rest = method.partition(":")
    named = re.fullmatch(r"([\w.+-]+)=(.+)", rest)
    path = Path(named.group(2) if named else rest)
    if not rest:
        raise UsageError(f"{option('methods')} {method}: write {kind}:FILE or {kind}:NAME=FILE")
    name = named.group(1) if named else path.name.split(".")[0]
    return External(f"{EXTERNAL}:{name}", path, KINDS[kind])


def _is_store(path: Path) -> bool:
    return any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zattrs"))


def _matched(
    foreign: Foreign, section: Section, data: CohortFold, values: Values, alone: bool
) -> tuple[F32, list[str]]:
    """f32[n, g] of a section, and what is to be told."""
    inside = np.arange(len(foreign.names)) if alone else _rows_of(foreign, section, data)
    if not np.isfinite(foreign.values).all():
        raise _wrong(section, "predictions hold NaN or infinity")
    rows, how = _spots(foreign, inside, section)
    log1p, what = _log1p(foreign, values, data.study.config.data.target_sum)
    columns, genes = _genes(foreign, section, data)
    known, lost = rows >= 0, int((rows < 0).sum())
    if lost > MISSING_SPOTS * len(rows):
        raise _wrong(section, f"{lost} of {len(rows)} spots are not predicted; at most 1 in 20 may be missing")
    out = np.full((len(rows), len(columns)), np.nan, np.float32)
    has = columns >= 0
    out[np.ix_(known, has)] = log1p[np.ix_(rows[known], columns[has])]
    notes = [what, how, *genes]
    if lost:
        out[np.ix_(~known, has)] = out[np.ix_(known, has)].mean(axis=0)
        notes.append(f"{lost} of {len(rows)} spots are not predicted and took the mean of the others")
    return out, notes


def _wrong(section: Section, what: str) -> UsageError:
    return UsageError(f"{option('methods')} {EXTERNAL}, section {section.id}: {what}")


def _rows_of(foreign: Foreign, section: Section, data: CohortFold) -> I64:
    """Rows of a section in a file of several; one that does not say is taken only if barcodes name one section."""
    if foreign.section is not None:
        rows = np.flatnonzero(foreign.section == section.id)
        if not len(rows):
            there = ", ".join(sorted(set(foreign.section.tolist()))[:5])
            raise _wrong(section, f"no row of the file is of it; its sections are {there}")
        return rows
    named = set(foreign.names.tolist()) & set(section.barcodes.tolist())
    others = {barcode for s in data.study.sections if s.id != section.id for barcode in s.barcodes.tolist()}
    if named and not named & others:
        return np.arange(len(foreign.names))
    raise _wrong(
        section,
        "the file does not say of which section its rows are; give it a column "
        f"{' or '.join(SECTIONS[:2])}, or a folder with a file per section",
    )


def _spots(foreign: Foreign, inside: I64, section: Section) -> tuple[I64, str]:
    """The row of each spot, i64[n], -1 where there is none; by barcode, else by the nearest centre."""
    names = foreign.names[inside]
    slot = {name: int(row) for name, row in zip(names.tolist(), inside, strict=True)}
    rows = np.array([slot.get(str(barcode), -1) for barcode in section.barcodes], np.int64)
    if (rows >= 0).any():
        if len(slot) < len(names):
            raise _wrong(section, f"{len(names) - len(slot)} rows repeat a barcode")
        return rows, "matched by barcode"
    if foreign.xy is None:
        raise _wrong(section, f"no row is named like a spot ({names[0]}, {section.barcodes[0]}), none has a place")
    return _nearest(foreign.xy, inside, section)


def _nearest(xy: F64, inside: I64, section: Section) -> tuple[I64, str]:
    """The row whose centre lies nearest to each spot, within half a pitch."""
    from scipy.spatial import cKDTree

    step = pitch(section.xy_l0)
    distance, found = cKDTree(xy[inside]).query(section.xy_l0)
    near = distance <= step / 2
    offset = (xy[inside][found] - section.xy_l0)[near]
    if len(offset) > 1:
        middle = np.median(offset, axis=0)
        spread = np.abs(offset - middle).max(axis=1)
        if np.hypot(*middle) > step / 10 and np.median(spread) < step / 50:
            where = f"{middle[0]:+.0f}, {middle[1]:+.0f} px"
            raise _wrong(section, f"all rows lie {where} from their spots: corners, no centres?")
    rows = np.where(near, inside[found], -1)
    median = float(np.median(distance[near])) if near.any() else np.nan
    return rows, f"matched by place: nearest centre within {step / 2:.0f} px (median {median:.1f})"


def _genes(foreign: Foreign, section: Section, data: CohortFold) -> tuple[I64, list[str]]:
    """The column of each of the fold's genes, i64[g], -1 where there is none; by Ensembl id, else by symbol."""
    ids = foreign.genes if is_ensembl(foreign.genes) else foreign.gene_ids
    by_id = _first(np.array([strip_version(g) for g in ids.tolist()])) if ids is not None else {}
    by_symbol = _first(foreign.genes)
    at = gene_columns(section, data.symbols, data.keys)
    own = np.where(at >= 0, section.gene_ids[at], data.keys)
    columns = [
        by_id.get(strip_version(gene), by_symbol.get(symbol, -1))
        for gene, symbol in zip(own.tolist(), data.symbols.tolist(), strict=True)
    ]
    found = np.array(columns, np.int64)
    lost = int((found < 0).sum())
    if lost == len(found):
        raise _wrong(section, f"none of the {lost} genes is predicted ({foreign.genes[0]}, {data.symbols[0]})")
    return found, [f"{lost} of {len(found)} genes are not predicted and count as r = 0"] if lost else []


def _first(names: Str) -> dict[str, int]:
    first: dict[str, int] = {}
    for column, name in enumerate(names.tolist()):
        first.setdefault(name, column)
    return first


def _log1p(foreign: Foreign, values: Values, target_sum: float) -> tuple[F32, str]:
    """All values as log1p of counts per ``target_sum``, and what they were taken for."""
    found = values
    why = "as said"
    if values == "found":
        found, why = _kind(foreign, target_sum)
    if found == "log1p":
        return foreign.values, f"values are log1p per {target_sum:,.0f} ({why})"
    if found == "cpm":
        counts = np.expm1(foreign.values.astype(np.float64)) * (target_sum / MILLION)
        told = f"values are log1p per million ({why}), brought to {target_sum:,.0f}"
        return np.log1p(counts).astype(np.float32), told
    if (foreign.values < 0).any():
        raise UsageError(f"{option('methods')} {EXTERNAL}: negative values are no counts")
    dense = log1p_normalise(sparse.csr_matrix(foreign.values), target_sum).toarray()
    return np.asarray(dense, np.float32), f"values are counts ({why}), normalised over {dense.shape[1]} genes"


def _kind(foreign: Foreign, target_sum: float) -> tuple[Values, str]:
    """What values can be, from what the file says and from their range."""
    largest = float(foreign.values.max()) if foreign.values.size else 0.0
    if "deepspotm" in foreign.marks:
        return "cpm", "found: DeepSpot-M"
    if foreign.values.size and (foreign.values >= 0).all() and (foreign.values % 1 == 0).all():
        return "counts", "found: whole numbers"
    if largest <= np.log1p(target_sum):
        return "log1p", f"found: largest {largest:.2f}, fractions"
    if largest <= np.log1p(MILLION):
        return "cpm", f"found: largest {largest:.2f}, fractions"
    return "counts", f"found: largest {largest:.0f}"
