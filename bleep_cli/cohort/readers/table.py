"""Counts as a table of text with a table of positions; spots in rows, as in the ST pipeline, or in columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.text_table import TextTable, is_number, ragged, read_text_table
from bleep_cli.cohort.parts.join import join, section_positions, some
from bleep_cli.cohort.parts.plane import factors_beside
from bleep_cli.cohort.parts.reader import LIBRARY, POSITIONS, Counted, RawSection, Reader, Source
from bleep_cli.cohort.parts.spot_names import looks_like_a_spot, matched
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.genes.features import Features, without_genome
from bleep_cli.genes.names import is_ensembl
from bleep_cli.tiles.position_columns import plain_name
from bleep_cli.types import Str

if TYPE_CHECKING:
    from scipy import sparse

OF_SPOTS = {
    "x", "y", "row", "col", "arrayrow", "arraycol", "imagerow", "imagecol", "pixelx", "pixely", "pxlrowinfullres",
    "pxlcolinfullres", "intissue", "tissue", "selected", "ncountspatial", "nfeaturespatial", "ncountrna",
    "nfeaturerna", "totalcounts", "ncounts", "ngenes", "ngenesbycounts", "percentmt", "pctcountsmt",
    "seuratclusters", "cluster", "leiden", "louvain",
}  # fmt: skip
"""Columns, by their plain names, that programs write beside genes and that are numbers of spots, not counts."""


TYPES = ("featuretype", "featuretypes", "type")
SYMBOLS = (
    "symbol", "symbols", "genesymbol", "genename", "genenames", "name", "hgncsymbol", "externalgenename", "gene",
)  # fmt: skip
VALUES_AT_ONCE = 1 << 22  # of a table that is read in parts: most of them are 0, and not kept
ST_UM = (100.0, 200.0)  # between spots: 200 µm on the first arrays, 141 on those of 2,000 spots, then 100
NO_NUMBER = ["", "na", "nan", "inf", "-inf", "NA", "NaN"]
"""What stands for a number that is missing; it is refused later, with every reader's NaN."""


def read_table(source: Source) -> RawSection:
    """The counts at the positions in tissue. Which side are the spots is told by the names of the positions."""
    path = source.file("positions")
    positions, factors = section_positions(source, path), factors_beside(path)
    counted = read_counts(source.path, positions.barcode)
    return join(counted, positions, source.entry.get("library"), factors=factors, usual_um=ST_UM)


def read_counts(path: Path, barcodes: Str) -> Counted:
    """A table of counts of spots, some of them called as ``barcodes`` str[n] or much like them.

    Raises ``ReferenceError``, which says what the table looks like, where neither rows nor columns are; and
    ``ValueError`` for what is no table of numbers.
    """
    try:
        text = read_text_table(path, "MOST_TEXT_BYTES")
        labels = _label_columns(text)
        texts, counts = _columns(text, labels)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error
    findings = []
    if text.guessed_encoding:
        findings.append(Finding("text-encoding-guessed", "the text is no UTF-8 and was read as Windows-1252"))
    names = np.delete(np.array(text.header, dtype=str), labels)
    down, across = [_found(column, barcodes) for column in texts.values()], _found(names, barcodes)
    if across > max(down):
        findings.append(Finding("counts-transposed", "genes are in the rows of the table, spots in its columns"))
        features = _features_of_rows({text.header[i]: column for i, column in texts.items()})
        return Counted(counts.T.tocsr(), features, names, tuple(findings))
    if max(down) == 0:
        raise ReferenceError(f"{path.name}: {_what_it_is(texts[0], names, barcodes)}")
    own = labels[int(np.argmax(down))]
    genes = np.array([plain_name(name) not in OF_SPOTS for name in names], dtype=bool)
    left = [text.header[i] or "(unnamed)" for i in labels if i != own] + names[~genes].tolist()
    if left:
        findings.append(
            Finding("features-no-genes", f"columns that are no genes were left out: {', '.join(left)}")
        )
    return Counted(counts[:, genes], Features(names[genes], names[genes]), texts[own], tuple(findings))


def _label_columns(text: TextTable) -> list[int]:
    """The columns that hold names, not numbers: the first, and all that have no number in the first rows."""
    width = len(text.header)
    if not text.rows:
        raise ValueError("it has a header and no rows")
    if len(text.rows[0]) != width:
        raise ValueError(f"{width} names for {len(text.rows[0]) - 1} columns of counts")
    if sum(is_number(field) for field in text.header) > width / 2:
        raise ValueError(f"its first line names nothing: {', '.join(text.header[:6])}")
    columns = ([row[i] for row in text.rows if i < len(row)] for i in range(1, width))
    named = [i for i, column in enumerate(columns, 1) if not any(_may_be_a_number(field) for field in column)]
    if len(named) == width - 1:
        raise ValueError(f"it has no column of numbers; its columns are {', '.join(text.header[:8])}")
    return [0, *named]


def _may_be_a_number(field: str) -> bool:
    return field.lower() in NO_NUMBER or is_number(field)


def _columns(text: TextTable, labels: list[int]) -> tuple[dict[int, Str], sparse.csr_matrix]:
    """(str[r] of each column of names, CSR f32[r, c] of the others)."""
    import pandas as pd
    from scipy import sparse

    others: list[Any] = [i for i in range(len(text.header)) if i not in set(labels)]
    try:
        parts = pd.read_csv(
            text.body_bytes(),
            sep=text.pandas_separator,
            header=None,
            dtype=dict.fromkeys(labels, str),
            decimal=text.decimal,
            skipinitialspace=True,
            keep_default_na=False,
            na_values=dict.fromkeys(others, NO_NUMBER),
            chunksize=max(1, VALUES_AT_ONCE // len(text.header)),
        )
        names: dict[int, list[Str]] = {i: [] for i in labels}
        counts = []
        for part in parts:
            table = part[(part[labels].fillna("") != "").any(axis=1)]
            for i in labels:
                names[i].append(table[i].fillna("").str.strip().to_numpy(dtype=str))
            counts.append(sparse.csr_matrix(table[others].to_numpy(np.float32)))
    except pd.errors.ParserError as error:
        raise ValueError(ragged(error)) from error
    return {i: np.concatenate(column) for i, column in names.items()}, sparse.vstack(counts, format="csr")


def _found(names: Str, barcodes: Str) -> int:
    return int((matched(names, barcodes)[0] >= 0).sum())


def _features_of_rows(columns: dict[str, Str]) -> Features:
    """What the columns of names in front of the counts say."""
    names = list(columns.values())
    if len(names) > 1 and all(is_number(name) for name in names[0]):  # numbers of rows
        columns = dict(list(columns.items())[1:])
        names = names[1:]
    by_name = {plain_name(header): column for header, column in columns.items()}
    types = next((by_name[name] for name in TYPES if name in by_name), None)
    ids = next((column for column in names if is_ensembl(without_genome(column))), names[0])
    symbols = next((by_name[name] for name in SYMBOLS if name in by_name), None)
    if symbols is None and len(names) == 2 and types is None:
        symbols = next(column for column in names if column is not ids)
    return Features(ids, ids if symbols is None else symbols, types)


def _what_it_is(rows: Str, columns: Str, barcodes: Str) -> str:
    """What a table looks like none of whose sides is called as the positions are."""
    sides = [
        f"{len(names)} {what} ({some(names)}), which {'look' if spots else 'do not look'} like spots"
        for names, what in ((rows, "rows"), (columns, "columns of counts"))
        for spots in [sum(looks_like_a_spot(name) for name in names[:100]) * 2 > len(names[:100])]
    ]
    return (
        f"no spot has both counts and a position: the table has {' and '.join(sides)}; the positions call "
        f"{len(barcodes)} spots {some(barcodes)}"
    )


def is_table(path: Path) -> bool:
    """Whether a file is named as a text table is."""
    return path.is_file() and bool({".tsv", ".csv", ".txt", ".tab"} & {s.lower() for s in path.suffixes})


TABLE = Reader(
    what="a table of counts",
    sources=("counts",),
    claims=is_table,
    read=read_table,
    keys=(POSITIONS, LIBRARY),
)
