"""Which columns of a table of positions are which, however a program spells them, and what their values say.

| places | written by |
| --- | --- |
| ``pxl_col_in_fullres``, ``pxl_row_in_fullres`` | Space Ranger, SpatialExperiment, semla |
| ``imagecol``, ``imagerow`` | Seurat |
| ``pixel_x``, ``pixel_y`` | ST spot detectors, STUtility |
| ``Centroid X px``, ``Centroid Y px``, or in µm | QuPath |
| ``x``, ``y`` | anybody, in level-0 px |

Letter case, spaces, dots and underscores in names do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.files.text_table import is_number
from bleep_cli.errors import UsageError
from bleep_cli.types import F64, Bool, Str

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Places:
    """A way to write places, names as :func:`plain_name` has them."""

    x: str
    """Column of x."""
    y: str
    """Column of y."""
    written: str
    """Both as they are usually spelled."""
    array_row: str = "arrayrow"
    """Column of the row in the array of spots."""
    array_col: str = "arraycol"
    """Column of the column in it."""
    inside: tuple[str, ...] = ("intissue", "selected")
    """Columns that may say whether a spot lies in tissue."""
    in_um: bool = False
    """Whether places are in µm, not in px."""
    of_qupath: bool = False
    """Whether places are QuPath's, whose (0, 0) is the corner of the scanned part of a slide."""


PLACES = (
    Places("pxlcolinfullres", "pxlrowinfullres", "pxl_col_in_fullres and pxl_row_in_fullres"),
    Places("imagecol", "imagerow", "imagecol and imagerow", "row", "col", ("tissue", "intissue")),
    Places("pixelx", "pixely", "pixel_x and pixel_y", "y", "x"),
    Places("centroidxpx", "centroidypx", "Centroid X px and Centroid Y px", of_qupath=True),
    Places("centroidxum", "centroidyum", "Centroid X µm and Centroid Y µm", in_um=True, of_qupath=True),
    Places("x", "y", "x and y"),
)
IDS = (
    "barcode", "barcodes", "id", "tileid", "spot", "spotid", "spotname", "objectid", "cellid", "cell", "name",
)  # fmt: skip
UNNAMED = ("", "index", "unnamed0", "level0", "rownames")
"""What a first column is called that a program wrote the names of its rows to."""
YES, NO = {"1", "1.0", "true", "t", "yes", "y"}, {"0", "0.0", "false", "f", "no", "n"}
VISIUM_BARCODE = re.compile(r"([ACGT]{16}|s_\d{3}um_\d+_\d+)(-\d+)?")
THOUSANDS = r"[+-]?[1-9]\d{0,2},\d{3}"


def plain_name(name: object) -> str:
    """A column's name without what programs write differently: case, spaces, marks, the sign of micro."""
    text = unicodedata.normalize("NFKC", str(name).replace("Âµ", "µ")).casefold().replace("μ", "u")
    return re.sub(r"[^0-9a-z]", "", text)


class Columns:
    """The columns of a table by their plain names."""

    def __init__(self, table: pd.DataFrame, file_name: str) -> None:
        self.table, self.file_name = table, file_name
        self.names = [str(name).strip() for name in table.columns]
        self._plain = [plain_name(name) for name in self.names]

    def __contains__(self, plain: str) -> bool:
        return plain in self._plain

    def name(self, plain: str) -> str:
        """The column's name as the file spells it."""
        return self.names[self._place(plain)]

    def values(self, plain: str) -> pd.Series:
        """Its values. ``UsageError`` where two columns go by that name."""
        return self.table.iloc[:, self._place(plain)]

    def first(self) -> pd.Series:
        """The values of the first column."""
        return self.table.iloc[:, 0]

    def first_plain(self) -> str:
        """The plain name of the first column."""
        return self._plain[0]

    def _place(self, plain: str) -> int:
        found = [i for i, name in enumerate(self._plain) if name == plain]
        exact = [i for i in found if self.names[i] == plain]  # "x" goes before R's "X"
        if len(found) > 1 and len(exact) != 1:
            told = " and ".join(self.names[i] for i in found)
            raise UsageError(f"{self.file_name}: columns {told} are the same; leave one of them out")
        return (exact or found)[0]


def find_places(columns: Columns) -> Places:
    """How the table writes places. ``UsageError`` with what is there and what is missing where it does not."""
    for places in PLACES:
        if places.x in columns and places.y in columns:
            return places
    for places in PLACES:
        for there, missing in ((places.x, places.y), (places.y, places.x)):
            if there in columns:
                pair = dict(zip((places.x, places.y), places.written.split(" and "), strict=True))
                raise UsageError(
                    f"{columns.file_name}: not a table of positions: it has {columns.name(there)} but no "
                    f"{pair[missing]}; {_found(columns)}"
                )
    ways = ", ".join(places.written for places in PLACES[:-1])
    raise UsageError(
        f"{columns.file_name}: not a table of positions: {_found(columns)}; columns x and y in level-0 px are "
        f"missing, or {ways}"
    )


def _found(columns: Columns) -> str:
    shown = ", ".join(name or "(unnamed)" for name in columns.names[:8])
    more = f" and {len(columns.names) - 8} more" if len(columns.names) > 8 else ""
    return f"its columns are {shown}{more}"


def find_ids(columns: Columns, places: Places) -> tuple[Str | None, str]:
    """(str[n] ids, the name of a column that was taken for them without being called so); None for no ids.

    The first of the columns with a known name in which every row has a value of its own; else what rows are called
    in the first column; else a first column of text that nothing else is known of.
    """
    named = [plain for plain in IDS if plain in columns and plain not in (places.x, places.y)]
    for plain in named:
        values = texts(columns.values(plain))
        if _all_different(values):
            return values, ""
    unnamed = columns.first_plain() in UNNAMED
    first = texts(columns.first())
    if unnamed and (not named or _all_different(first)):
        return first, ""
    if places.of_qupath:
        return None, ""
    if named:
        return texts(columns.values(named[0])), ""  # the caller says what is wrong with them
    known = {places.x, places.y, places.array_row, places.array_col, *places.inside}
    spelled_as_known = columns.first_plain() in known and columns.names[0] not in ("X", "Y")  # R's for no name
    if not spelled_as_known and _all_different(first) and not _all_numbers(first):
        return first, columns.names[0]
    return None, ""


def require_own(ids: Str, file_name: str) -> None:
    """Raises ``UsageError`` where a row has no id, or that of another row."""
    if (ids == "").any():
        raise UsageError(f"{file_name}: row {int(np.argmax(ids == '')) + 1} has no id")
    if not _all_different(ids):
        names, times = np.unique(ids, return_counts=True)
        raise UsageError(
            f"{file_name}: some spot ids occur twice: {names[times > 1][0]} {times[times > 1][0]} times"
        )


def refuse_seurat_5(columns: Columns, ids: Str, file_name: str) -> None:
    """Raises ``UsageError`` for x, y, cell of Visium spots: Seurat 5 writes the image's row as x.

    Source: ``Read10X_Image`` makes its ``VisiumV2`` of ``coordinates[, c("imagerow", "imagecol")]``.
    """
    if "cell" in columns and len(ids) and all(VISIUM_BARCODE.fullmatch(name) for name in ids[:20]):
        raise UsageError(
            f"{file_name}: x, y, cell of Visium spots, as Seurat 5 writes them: there x is the row of the image "
            "and y its column; call x imagerow and y imagecol, or, if x is the column, cell barcode"
        )


def find_inside(columns: Columns, places: Places) -> Bool:
    """bool[n] whether each row lies in tissue; all of them where no column says so.

    Raises ``UsageError`` for a value that says neither yes nor no.
    """
    import pandas as pd

    plain = next((name for name in places.inside if name in columns), None)
    if plain is None:
        return np.ones(len(columns.table), bool)
    codes, found = pd.factorize(columns.values(plain), use_na_sentinel=False)
    said = [str(value).strip().casefold() for value in found]
    unclear = [value for value, word in zip(found, said, strict=True) if word not in YES | NO]
    if unclear:
        raise UsageError(
            f"{columns.file_name}: column {columns.name(plain)} says whether a spot lies in tissue by 1 or 0, "
            f"true or false, yes or no; it holds {str(unclear[0])!r}"
        )
    return np.array([word in YES for word in said], dtype=bool)[codes]


def two_numbers(columns: Columns, first: str, second: str) -> F64:
    """f64[n, 2] of two columns. ``UsageError`` where one holds something else."""
    pair = f"columns {columns.name(first)} and {columns.name(second)} must be numbers"
    return np.stack([_numbers(columns, plain, pair) for plain in (first, second)], axis=1)


def _numbers(columns: Columns, plain: str, told: str) -> F64:
    import pandas as pd

    column, where = columns.values(plain), columns.file_name
    if not pd.api.types.is_numeric_dtype(column):
        column = column.astype(str).str.strip()
        commas = column.str.contains(",", regex=False)
        if commas.any():
            if column[commas].str.fullmatch(THOUSANDS).all() and not columns.table.attrs.get("semicolons"):
                value = column[commas].iloc[0]
                raise UsageError(
                    f"{where}: {told}; is the comma of {value!r} a decimal one, or does it group digits?"
                )
            column = column.str.replace(",", ".", regex=False)
    values = np.asarray(pd.to_numeric(column, errors="coerce"), dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = str(columns.values(plain).iloc[bad[0]]).strip()
        number = re.fullmatch(r"|[+-]?(nan|inf|infinity|none|<na>)", value, re.IGNORECASE)
        what = "some are missing or infinite" if number else f"one is {value!r}"
        raise UsageError(f"{where}: {told}; {what} (row {bad[0] + 1}, {columns.name(plain)})")
    return values


def texts(values: pd.Series) -> Str:
    """str[n] without white space around them."""
    return values.astype(str).str.strip().to_numpy(dtype=str)


def _all_numbers(values: Iterable[str]) -> bool:
    return all(is_number(value) for value in values)


def _all_different(values: Str) -> bool:
    import pandas as pd

    return bool((values != "").all()) and pd.Index(values).is_unique  # by hashing: there may be millions
