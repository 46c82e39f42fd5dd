"""Spot positions, or other places on a slide, from tables of text and Parquet.

Which columns count is told in :mod:`bleep_cli.tiles.position_columns`. A table of six columns without a header is
Space Ranger 1's ``tissue_positions_list.csv``. Rows are y and columns are x in these files; everything that leaves
this module is (x, y).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from bleep_cli.base.files.text_table import TextTable, is_number, read_text_table
from bleep_cli.base.files.unpacked import regular
from bleep_cli.base.reasons import reason
from bleep_cli.errors import UsageError
from bleep_cli.findings import Finding
from bleep_cli.limits import MOST_SPOTS, MOST_TABLE_BYTES, over
from bleep_cli.tiles.position_columns import (
    Columns,
    Places,
    find_ids,
    find_inside,
    find_places,
    refuse_seurat_5,
    require_own,
    two_numbers,
)
from bleep_cli.types import F64, I64, Bool, Slide, Str

if TYPE_CHECKING:
    import pandas as pd

SPACERANGER = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
FILES = re.compile(r"(?P<prefix>.*?)tissue_positions(?P<form>\.csv|_list\.csv|\.parquet)(\.gz)?", re.IGNORECASE)
FORMS = (".csv", "_list.csv", ".parquet")  # the first of these, where a folder holds several of one prefix

MOST_ROW = 2**31 - 1
"""Of an array of spots: what is written of it has 32 bits in other programs."""


@dataclass(frozen=True)
class Positions:
    """The n spots, or other places, of a table."""

    barcode: Str
    """str[n] their ids, unique."""
    xy_l0: F64
    """f64[n, 2] (x, y) centres in level-0 pixels."""
    array_row: I64
    """i64[n] row in the array of spots; where the table has none, the row of the table."""
    array_col: I64
    """i64[n] column in the array of spots; where the table has none, 0."""
    in_tissue: Bool
    """bool[n] whether the table counts each as tissue."""
    of_qupath: bool = False
    """Whether they are counted as QuPath does, from the corner of the slide's scanned part."""
    findings: tuple[Finding, ...] = ()
    """What had to be guessed or converted."""

    def subset(self, keep: Bool) -> Positions:
        """The rows where ``keep`` is true."""
        return Positions(
            self.barcode[keep],
            self.xy_l0[keep],
            self.array_row[keep],
            self.array_col[keep],
            self.in_tissue[keep],
            self.of_qupath,
            self.findings,
        )

    def on(self, slide: Slide) -> Positions:
        """The same, counted from the corner of the slide."""
        x, y = slide.bounds_l0[:2]
        if not self.of_qupath or (x, y) == (0, 0):
            return self
        told = f"QuPath counts from the corner of the scanned part: its positions were moved by ({x:g}, {y:g}) px"
        findings = (*self.findings, Finding("positions-moved", told, slide.name))
        return replace(self, xy_l0=self.xy_l0 + np.array([x, y]), of_qupath=False, findings=findings)


def read_positions(path: Path, mpp: Callable[[], float] | None = None) -> Positions:
    """Reads a table, or the one table of a folder such as ``spatial``; all spots, in tissue or not.

    ``mpp`` tells the µm per level-0 pixel of their slide, and is asked for tables in µm. Raises ``UsageError`` for
    a missing file, a table that is none of positions (with the columns that it has), ids that are missing or
    repeat, coordinates that are no numbers, and µm without ``mpp``.
    """
    if path.is_dir():
        path = _the_one_in(path)
    if not path.exists():
        raise UsageError(f"{path.name}: no such file of positions")
    try:
        table, findings = _table(path)
    except Exception as error:  # the door: whatever pandas and pyarrow raise
        told = str(error) if type(error) is ValueError else reason(error)
        raise UsageError(f"{path.name}: cannot be read as a table of positions ({told})") from error
    if not len(table):
        raise UsageError(f"{path.name}: a table of positions without a row")
    positions = _recognise(Columns(table, path.name), mpp)
    return replace(positions, findings=(*findings, *positions.findings))


def positions_in(folder: Path) -> list[Path]:
    """Space Ranger's tables of positions in a folder, whatever stands before their names; one for each prefix."""
    found: dict[str, list[tuple[int, str]]] = {}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = FILES.fullmatch(path.name)
        if match:
            rank = FORMS.index(match["form"].lower())
            found.setdefault(match["prefix"], []).append((rank, path.name))
    return [folder / min(files)[1] for _, files in sorted(found.items())]


def _the_one_in(folder: Path) -> Path:
    found = positions_in(folder) or positions_in(folder / "spatial")
    if len(found) != 1:
        what = ", ".join(path.name for path in found) or "no tissue_positions"
        raise UsageError(f"{folder.name}: a folder with {what}; name the file of positions itself")
    return found[0]


def _table(path: Path) -> tuple[pd.DataFrame, list[Finding]]:
    """All rows under the names of their columns."""
    import pandas as pd

    with regular(path).open("rb") as file:
        parquet = file.read(4) == b"PAR1"
        file.seek(0)
        if parquet:
            _check_parquet(file)
            table = pd.read_parquet(file)  # a path would have to be Unicode, wherever this runs
            unnamed = isinstance(table.index, pd.RangeIndex) or table.index.name in table.columns
            return table if unnamed else table.reset_index(), []
    if path.suffix.lower() == ".parquet":
        raise ValueError("it is no Parquet file")
    text = _with_header(read_text_table(path))
    table = text.frame()
    table.columns = pd.Index(text.header)
    table.attrs["semicolons"] = text.separator == ";"  # then commas in numbers are decimal ones
    told = "the text is no UTF-8 and was read as Windows-1252"
    return table, [Finding("text-encoding-guessed", told, path.name)] if text.guessed_encoding else []


def _check_parquet(file: BinaryIO) -> None:
    """Raises ``ValueError`` for a table that unpacks to more than there can be."""
    from pyarrow import parquet

    stated = parquet.read_metadata(file)
    size = sum(stated.row_group(i).total_byte_size for i in range(stated.num_row_groups))
    if size > MOST_TABLE_BYTES:
        raise ValueError(over(f"a table of {size:,} bytes", "MOST_TABLE_BYTES"))
    if stated.num_rows > MOST_SPOTS:
        raise ValueError(over(f"a table of {stated.num_rows:,} rows", "MOST_SPOTS"))
    file.seek(0)


def _with_header(text: TextTable) -> TextTable:
    """A header for Space Ranger 1's table, which has none. ``ValueError`` for other tables without one."""
    numbers = [is_number(field) for field in text.header]
    if len(numbers) == len(SPACERANGER) and all(numbers[1:]):
        return text.with_header(SPACERANGER)
    if sum(numbers) > 1:
        shown = ", ".join(text.header[:6])
        raise ValueError(f"its first line names no columns ({shown}); put one above that does, such as id, x, y")
    return text


def _recognise(columns: Columns, mpp: Callable[[], float] | None) -> Positions:
    name = columns.file_name
    places = find_places(columns)
    xy = two_numbers(columns, places.x, places.y)
    findings: list[Finding] = []
    if places.of_qupath:
        _refuse_several_images(columns)
    if places.in_um:
        xy, findings = _in_px(xy, places, name, mpp)
    row, col, has_array = _array(columns, places)
    ids, taken_for_ids = find_ids(columns, places)
    if taken_for_ids:
        told = f"no column is called barcode or id; {taken_for_ids!r} was taken for it"
        findings.append(Finding("positions-ids-guessed", told, name))
    if ids is None and has_array and places.x == "pixelx":  # ST's spots are called by their place in the array
        ids = np.array([f"{x}x{y}" for x, y in zip(col, row, strict=True)], dtype=str)
    if ids is None and places.of_qupath:
        ids = np.arange(1, len(xy) + 1).astype(str)
        told = "no column of ids that differ; the rows are called by their number"
        findings.append(Finding("positions-ids-guessed", told, name))
    if ids is None:
        raise UsageError(
            f"{name}: no column of ids; beside {places.written} one called barcode or id is needed, "
            f"its columns are {', '.join(columns.names[:8])}"
        )
    require_own(ids, name)
    if places.x == "x":
        refuse_seurat_5(columns, ids, name)
    inside = find_inside(columns, places)
    return Positions(ids, xy, row, col, inside, places.of_qupath, tuple(findings))


def _array(columns: Columns, places: Places) -> tuple[I64, I64, bool]:
    """i64[n] rows and columns in the array of spots, and whether the table states them."""
    if places.array_row in columns and places.array_col in columns:
        stated = np.rint(two_numbers(columns, places.array_row, places.array_col))
        if len(stated) and np.abs(stated).max() > MOST_ROW:
            raise UsageError(f"{columns.file_name}: a row or column of the array of spots is beyond {MOST_ROW:,}")
        array = stated.astype(np.int64)
        return array[:, 0], array[:, 1], True
    rows = np.arange(len(columns.table), dtype=np.int64)
    return rows, np.zeros_like(rows), False


def _in_px(xy: F64, places: Places, name: str, mpp: Callable[[], float] | None) -> tuple[F64, list[Finding]]:
    """Places f64[n, 2] in µm as pixels, and what was done to them."""
    if mpp is None:
        raise UsageError(f"{name}: {places.written} are in µm, which only their slide turns into pixels")
    um = mpp()
    return xy / um, [Finding("positions-in-um", f"positions in µm were divided by {um:.4g} µm per px", name)]


def _refuse_several_images(columns: Columns) -> None:
    if "image" in columns and columns.values("image").nunique() > 1:
        raise UsageError(f"{columns.file_name}: rows of several images; export those of one")
