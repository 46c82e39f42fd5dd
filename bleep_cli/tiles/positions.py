"""Spot positions: Space Ranger's three forms, ST selection tables, and plain CSV with x, y.

| form | recognised by |
| --- | --- |
| ``tissue_positions_list.csv`` (Space Ranger 1) | six columns, no header |
| ``tissue_positions.csv`` (Space Ranger 2 and later) | header with ``pxl_row_in_fullres`` |
| ``tissue_positions.parquet`` (Visium HD) | the same columns in Parquet |
| ST selection table | header with ``x``, ``y``, ``pixel_x``, ``pixel_y``, optional ``selected`` |
| plain CSV or TSV | header with ``x``, ``y`` in level-0 px and an id column (``id``, ``barcode``, ``tile_id``) |

Space Ranger's row is y and its column is x; everything that leaves this module is (x, y).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import UsageError
from bleep_cli.types import F64, I64, Str

if TYPE_CHECKING:
    import pandas as pd

SPACERANGER = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")
ID_COLUMNS = ("id", "barcode", "tile_id", "spot", "name")


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
    in_tissue: NDArray[np.bool_]
    """bool[n] whether the table counts each as tissue."""

    def subset(self, keep: NDArray[np.bool_]) -> Positions:
        """The rows where ``keep`` is true."""
        return Positions(*(column[keep] for column in vars(self).values()))


def read_positions(path: Path) -> Positions:
    """Reads any of the forms above; all spots, in tissue or not.

    Raises ``UsageError`` for a missing file, an unknown form, duplicate ids or coordinates that are no numbers.
    """
    if not path.is_file():
        raise UsageError(f"{path.name}: no such file of positions")
    try:
        table = _table(path)
    except (ValueError, OSError) as error:  # pandas' and pyarrow's parse errors are ValueErrors
        raise UsageError(f"{path.name}: cannot be read as a table of positions ({error})") from error
    positions = _recognise(table, path.name)
    if len(np.unique(positions.barcode)) != len(positions.barcode):
        raise UsageError(f"{path.name}: some spot ids occur twice")
    return positions


def _table(path: Path) -> pd.DataFrame:
    import pandas as pd

    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    separator = "\t" if {".tsv", ".txt"} & set(path.suffixes) else ","
    head = pd.read_csv(path, sep=separator, nrows=1, header=None, dtype=str)
    first = head.iloc[0, 1:] if len(head) else head
    if len(head) and head.shape[1] == len(SPACERANGER) and first.str.fullmatch(r"-?[\d.eE+-]+").all():
        return pd.read_csv(path, sep=separator, header=None, names=list(SPACERANGER), dtype={"barcode": str})
    return pd.read_csv(path, sep=separator, dtype=dict.fromkeys(ID_COLUMNS, str))  # 007 is not 7


def _recognise(table: pd.DataFrame, name: str) -> Positions:
    columns = set(table.columns)
    if set(SPACERANGER) <= columns:
        row, col = _floats(table, "array_row", "array_col", name=name).astype(np.int64).T
        return Positions(
            table["barcode"].to_numpy(dtype=str),
            _floats(table, "pxl_col_in_fullres", "pxl_row_in_fullres", name=name),
            row,
            col,
            table["in_tissue"].to_numpy() == 1,
        )
    if {"x", "y", "pixel_x", "pixel_y"} <= columns:
        array = np.rint(_floats(table, "x", "y", name=name)).astype(np.int64)
        selected = table["selected"].to_numpy() == 1 if "selected" in columns else np.ones(len(table), bool)
        return Positions(
            np.array([f"{x}x{y}" for x, y in array], dtype=str),
            _floats(table, "pixel_x", "pixel_y", name=name),
            array[:, 1],
            array[:, 0],
            selected,
        )
    id_column = next((column for column in ID_COLUMNS if column in columns), None)
    if {"x", "y"} <= columns and id_column:
        row = np.arange(len(table), dtype=np.int64)
        col = np.zeros_like(row)
        if {"array_row", "array_col"} <= columns:
            row, col = _floats(table, "array_row", "array_col", name=name).astype(np.int64).T
        xy_l0 = _floats(table, "x", "y", name=name)
        return Positions(table[id_column].to_numpy(dtype=str), xy_l0, row, col, np.ones(len(table), bool))
    raise UsageError(
        f"{name}: not a table of positions; give Space Ranger's tissue_positions, an ST selection table "
        f"(x, y, pixel_x, pixel_y) or columns x, y (level-0 px) and one of {', '.join(ID_COLUMNS)}"
    )


def _floats(table: pd.DataFrame, x: str, y: str, *, name: str) -> F64:
    try:
        values = np.asarray(table[[x, y]].to_numpy(np.float64))
    except (ValueError, TypeError) as error:
        raise UsageError(f"{name}: columns {x} and {y} must be numbers ({error})") from error
    if not np.isfinite(values).all():
        raise UsageError(f"{name}: columns {x} and {y} must be numbers; some are missing or infinite")
    return values
