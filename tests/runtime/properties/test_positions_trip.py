"""Tables of positions: whatever ids and places are written in whatever form, they come back."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trips import always_the_same, folder, names

from bleep_cli.tiles.positions import Positions, read_positions

MPP = 0.5
AWKWARD = ["007", "1e5", "NA", "nan", "None", "True", "1.0", "-", "a,b", 'say "so"', "x;y", "0x10", "µ"]
ids = st.lists(st.sampled_from(AWKWARD) | names, min_size=1, max_size=12, unique=True)
place = st.floats(-1e6, 1e6, allow_subnormal=False)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """``barcode, in_tissue, array_row, array_col, y, x``."""
    barcodes = draw(ids)
    n = len(barcodes)
    column = {
        "in_tissue": draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)),
        "array_row": draw(st.lists(st.integers(0, 4000), min_size=n, max_size=n)),
        "array_col": draw(st.lists(st.integers(0, 4000), min_size=n, max_size=n)),
        "pxl_row_in_fullres": draw(st.lists(place, min_size=n, max_size=n)),
        "pxl_col_in_fullres": draw(st.lists(place, min_size=n, max_size=n)),
    }
    return pd.DataFrame({"barcode": barcodes} | column)


def text_of(table: pd.DataFrame, separator: str, *, header: bool = True) -> bytes:
    """As programs write it: quotes where they are needed, numbers with all their digits."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=separator, lineterminator="\n")
    if header:
        writer.writerow(table.columns)
    writer.writerows(table.itertuples(index=False))
    return out.getvalue().encode()


def written(table: pd.DataFrame, form: str, where: Path) -> Path:
    """The table in a form, under a name that goes with it."""
    path = where / form
    if form.endswith(".parquet"):
        table.to_parquet(path)
    elif form.endswith(".gz"):
        path.write_bytes(gzip.compress(text_of(table, ",")))
    else:
        separator = {".csv": ",", ".tsv": "\t", ".txt": ";"}[path.suffix]
        path.write_bytes(text_of(table, separator, header="_list" not in form))
    return path


def same(found: Positions, table: pd.DataFrame) -> None:
    assert found.barcode.tolist() == table["barcode"].tolist()
    wanted = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    np.testing.assert_allclose(found.xy_l0, wanted, rtol=1e-14)  # as exact as pandas reads text
    np.testing.assert_array_equal(found.array_row, table["array_row"])
    np.testing.assert_array_equal(found.array_col, table["array_col"])
    np.testing.assert_array_equal(found.in_tissue, table["in_tissue"] == 1)
    assert not found.of_qupath and not found.findings


@pytest.mark.parametrize(
    "form",
    [
        *("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet"),
        *("tissue_positions.csv.gz", "table.tsv", "table.txt"),
    ],
)
@always_the_same
@given(table=tables())
def test_what_is_written_comes_back_in_every_form(form: str, table: pd.DataFrame) -> None:
    with folder() as where:
        same(read_positions(written(table, form, where)), table)


@always_the_same
@given(table=tables())
def test_places_in_micrometres_are_those_in_pixels(table: pd.DataFrame) -> None:
    um = table[["barcode"]].assign(x=table["pxl_col_in_fullres"] * MPP, y=table["pxl_row_in_fullres"] * MPP)
    um.columns = pd.Index(["Name", "Centroid X µm", "Centroid Y µm"])
    with folder() as where:
        found = read_positions(written(um, "qupath.tsv", where), lambda: MPP)
    assert found.of_qupath and found.barcode.tolist() == table["barcode"].tolist()
    np.testing.assert_allclose(found.xy_l0, table[["pxl_col_in_fullres", "pxl_row_in_fullres"]], rtol=1e-12)


@always_the_same
@given(table=tables(), seed=st.integers(0, 99))
def test_the_order_of_rows_and_columns_says_nothing(table: pd.DataFrame, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(len(table)), rng.permutation(table.shape[1])
    with folder() as where:
        found = read_positions(written(table.iloc[rows, columns], "table.tsv", where))
    same(found, table.iloc[rows])
