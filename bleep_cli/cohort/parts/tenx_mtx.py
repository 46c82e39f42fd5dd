"""10x Genomics' matrices as three text files: ``matrix.mtx``, ``features.tsv`` (``genes.tsv``), ``barcodes.tsv``.

Each may be compressed, and may have a prefix such as GEO puts before names.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.files.text_table import read_text
from bleep_cli.base.files.unpacked import read_unpacked
from bleep_cli.cohort.parts.reader import Counted
from bleep_cli.errors import ReferenceError
from bleep_cli.genes.features import Features
from bleep_cli.limits import MOST_COUNTS, MOST_DENSE, MOST_SPOTS, over
from bleep_cli.types import Str

if TYPE_CHECKING:
    from scipy import sparse

MATRIX = re.compile(r"(?P<prefix>.*?)(?:matrix)?\.mtx(?:\.gz)?", re.IGNORECASE)
SIDES = {"features": ("features", "genes"), "barcodes": ("barcodes",)}
"""The tables beside a matrix, and what they are called."""
TABLE = r"(?P<prefix>.*?)(?:{})\.(?:tsv|csv|txt)(?:\.gz)?"


@dataclass(frozen=True)
class MtxFiles:
    """The three files of a matrix."""

    matrix: Path
    features: Path
    barcodes: Path


def is_mtx(path: Path) -> bool:
    """Whether a file is called as a matrix, or a folder holds one."""
    return bool(_matrices(path)) if path.is_dir() else path.is_file() and bool(MATRIX.fullmatch(path.name))


def mtx_files(path: Path) -> MtxFiles:
    """The three files of a matrix, by it or by their folder.

    Raises ``ReferenceError`` where a folder holds several matrices, or where one of the three is not there.
    """
    found = _matrices(path) if path.is_dir() else [path]
    if len(found) != 1:
        what = f"{len(found)} matrices, {', '.join(each.name for each in found)}" if found else "no matrix.mtx"
        raise ReferenceError(f"{path.name}: a folder with {what}; name the matrix itself with counts")
    match = MATRIX.fullmatch(found[0].name)
    prefix = match["prefix"] if match else ""
    return MtxFiles(found[0], *(_beside(found[0], prefix, side) for side in SIDES))


def tenx_mtx(path: Path) -> Counted:
    """All spots and features of the matrix at a path, or in a folder.

    Raises ``ReferenceError`` for files that are not there, ``ValueError`` for those that do not go together.
    """
    files = mtx_files(path)
    counts = _counts(files.matrix)
    features, barcodes = _fields(files.features), _fields(files.barcodes)
    if not _fit(features, barcodes, counts.shape):
        counts = counts.T  # 10x writes spots in columns, others in rows
    if not _fit(features, barcodes, counts.shape):
        raise ValueError(
            f"{files.matrix.name} of {counts.shape[0]} × {counts.shape[1]} against {len(features)} features, "
            f"{len(barcodes)} barcodes"
        )
    of_features, of_barcodes = _columns(features, counts.shape[0]), _columns(barcodes, counts.shape[1])
    ids = of_features[0]
    symbols, types = of_features[min(1, len(of_features) - 1)], of_features[2] if len(of_features) > 2 else None
    return Counted(counts.T.tocsr(), Features(ids, symbols, types), of_barcodes[0])


def _matrices(folder: Path) -> list[Path]:
    """The matrices in a folder, else in the folders of genomes in it; one for each prefix."""
    for place in ("*", "*/*"):
        found = {
            str(path.with_suffix("") if path.suffix == ".gz" else path): path
            for path in sorted(folder.glob(place))
            if MATRIX.fullmatch(path.name)
        }
        if found:
            return list(found.values())
    return []


def _beside(matrix: Path, prefix: str, side: str) -> Path:
    """The features or barcodes of a matrix: of its prefix, else the only ones in its folder; features may serve
    several matrices."""
    table = re.compile(TABLE.format("|".join(SIDES[side])), re.IGNORECASE)
    there = {
        path: match["prefix"] for path in sorted(matrix.parent.iterdir()) if (match := table.fullmatch(path.name))
    }
    same = [path for path, found in there.items() if found == prefix]
    if not same and (side == "features" or len(_matrices(matrix.parent)) == 1):
        same = list(there)
    if len({path.name.removesuffix(".gz") for path in same}) != 1:
        lacking = "no " + " or ".join(f"{prefix}{name}.tsv" for name in SIDES[side])
        what = ", ".join(path.name for path in same) or lacking
        raise ReferenceError(f"{matrix.name}: beside it there is {what}; one table of its {side} is needed")
    return same[0]


def _counts(path: Path) -> sparse.csr_matrix:
    """The matrix as it stands, rows and columns not yet told apart."""
    from scipy import sparse
    from scipy.io import mmread

    try:
        raw = read_unpacked(path, "MOST_TEXT_BYTES")
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    _check_size_line(raw, path.name)
    _check_signs(raw, path.name)
    return sparse.csr_matrix(mmread(BytesIO(raw), spmatrix=True))


def _check_size_line(raw: bytes, name: str) -> None:
    """Raises ``ValueError`` for a matrix whose size line says more than its lines can hold: memory for it is taken
    before they are read."""
    line = next((line for line in BytesIO(raw) if not line.startswith(b"%") and line.strip()), b"")
    numbers = [int(word) for word in line.split() if word.isdigit()]
    if len(numbers) == 3:
        if numbers[2] > MOST_COUNTS or numbers[2] > len(raw):
            raise ValueError(f"{name}: {over(f'{numbers[2]:,} values in {len(raw):,} bytes', 'MOST_COUNTS')}")
    elif len(numbers) == 2 and numbers[0] * numbers[1] > min(MOST_DENSE, len(raw)):
        raise ValueError(f"{name}: {over(f'{numbers[0]:,} × {numbers[1]:,} values', 'MOST_DENSE')}")
    if numbers and max(numbers[:2]) > MOST_SPOTS:
        raise ValueError(f"{name}: {over(f'{max(numbers[:2]):,} rows or columns', 'MOST_SPOTS')}")


def _check_signs(raw: bytes, name: str) -> None:
    """Raises ``ValueError`` for signs that no number has behind the comments: SciPy's C++ code, which reads them,
    ends the process at a NUL."""
    first = next(found.start() for found in re.finditer(rb"^(?!%)", raw, re.MULTILINE))
    if foreign := raw[first:].translate(None, b"0123456789+-.eE \t\r\n"):
        raise ValueError(f"{name}: holds {foreign[:1]!r} among its numbers")


def _fields(path: Path) -> list[list[str]]:
    try:
        text, _ = read_text(path, "MOST_TEXT_BYTES")
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    lines = [line for line in text.replace("\r", "\n").split("\n") if line.strip()]
    tabs = bool(lines) and "\t" in lines[-1]
    rows = (line.split("\t") for line in lines) if tabs else csv.reader(lines)
    return [[field.strip().strip('"') for field in row] for row in rows]


def _fit(features: list[list[str]], barcodes: list[list[str]], shape: tuple[int, ...]) -> bool:
    """Whether there is a line for each row and column, perhaps below a header."""
    return len(features) in (shape[0], shape[0] + 1) and len(barcodes) in (shape[1], shape[1] + 1)


def _columns(rows: list[list[str]], n: int) -> list[Str]:
    """The columns of n lines, without a header, and without the numbers of rows that R and pandas put first."""
    rows = rows[len(rows) - n :]
    width = min((len(row) for row in rows), default=1)
    columns = [np.array([row[i] for row in rows], dtype=str) for i in range(width)]
    counted = [np.arange(first, first + n).astype(str) for first in (0, 1)]
    if width > 1 and any(np.array_equal(columns[0], numbers) for numbers in counted):
        return columns[1:]
    return columns
