"""Spot positions in all their forms; x and y are never swapped, and errors name the thing."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bleep_cli.errors import UsageError
from bleep_cli.tiles.positions import Positions, read_positions

HEADER = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
ROWS = ["AAAC-1,1,0,4,100,2000.5", "AAAG-1,0,2,6,300,4000"]  # row = y = 100, column = x = 2000.5


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def assert_two_spots(found: Positions) -> None:
    assert found.barcode.tolist() == ["AAAC-1", "AAAG-1"]
    assert found.xy_l0.tolist() == [[2000.5, 100], [4000, 300]]
    assert found.array_row.tolist() == [0, 2]
    assert found.array_col.tolist() == [4, 6]
    assert found.in_tissue.tolist() == [True, False]
    columns = (found.barcode, found.xy_l0, found.array_row, found.array_col, found.in_tissue)
    assert [column.dtype.kind for column in columns] == ["U", "f", "i", "i", "b"]
    assert found.findings == ()


def test_space_ranger_1_has_no_header(tmp_path: Path) -> None:
    assert_two_spots(read_positions(write(tmp_path / "tissue_positions_list.csv", *ROWS)))


def test_space_ranger_2_has_a_header(tmp_path: Path) -> None:
    assert_two_spots(read_positions(write(tmp_path / "tissue_positions.csv", HEADER, *ROWS)))


def test_visium_hd_is_parquet(tmp_path: Path) -> None:
    source = write(tmp_path / "a.csv", HEADER, *ROWS)
    path = tmp_path / "tissue_positions.parquet"
    pd.read_csv(source).to_parquet(path)
    assert_two_spots(read_positions(path))


def test_columns_go_by_name_not_by_place(tmp_path: Path) -> None:
    frame = pd.read_csv(write(tmp_path / "a.csv", HEADER, *ROWS)).iloc[:, ::-1]
    frame.to_csv(tmp_path / "b.csv", index=False)
    assert_two_spots(read_positions(tmp_path / "b.csv"))


def test_st_selection_table(tmp_path: Path) -> None:
    path = write(
        tmp_path / "s.tsv",
        "x\ty\tnew_x\tnew_y\tpixel_x\tpixel_y\tselected",
        "7\t3\t7.02\t2.98\t700.5\t300\t1",
        "8\t3\t8.02\t2.98\t800.5\t301\t0",
    )
    found = read_positions(path)
    assert found.barcode.tolist() == ["7x3", "8x3"]
    assert found.xy_l0.tolist() == [[700.5, 300], [800.5, 301]]
    assert (found.array_col.tolist(), found.array_row.tolist()) == ([7, 8], [3, 3])
    assert found.in_tissue.tolist() == [True, False]


def test_st_selection_without_selected_is_all_in_tissue(tmp_path: Path) -> None:
    found = read_positions(write(tmp_path / "s.tsv", "x\ty\tpixel_x\tpixel_y", "1.0\t2.0\t10\t20"))
    assert found.barcode.tolist() == ["1x2"] and found.in_tissue.tolist() == [True]


@pytest.mark.parametrize(("name", "separator"), [("p.csv", ","), ("p.tsv", "\t"), ("p.txt", "\t")])
@pytest.mark.parametrize("id_column", ["id", "barcode", "tile_id", "spot", "name"])
def test_plain_table(tmp_path: Path, name: str, separator: str, id_column: str) -> None:
    lines = [[id_column, "y", "x"], ["007", "20", "10.5"], ["1e3", "-21", "11"]]
    found = read_positions(write(tmp_path / name, *map(separator.join, lines)))
    assert found.barcode.tolist() == ["007", "1e3"]  # names, even where they look like numbers
    assert found.xy_l0.tolist() == [[10.5, 20], [11, -21]]
    assert (found.array_row.tolist(), found.array_col.tolist()) == ([0, 1], [0, 0])
    assert found.in_tissue.all()


def test_plain_table_with_an_array(tmp_path: Path) -> None:
    lines = ["id,x,y,array_row,array_col", "a,1,2,5,6", "b,3,4,7,8"]
    found = read_positions(write(tmp_path / "p.csv", *lines))
    assert (found.array_row.tolist(), found.array_col.tolist()) == ([5, 7], [6, 8])


def test_gzip_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "p.csv.gz"
    path.write_bytes(gzip.compress("\ufeffid,x,y\na,1,2\n".encode()))
    assert read_positions(path).xy_l0.tolist() == [[1, 2]]


def test_subset_keeps_the_columns_together(tmp_path: Path) -> None:
    found = read_positions(write(tmp_path / "a.csv", HEADER, *ROWS))
    kept = found.subset(np.array([False, True]))
    assert (kept.barcode.tolist(), kept.xy_l0.tolist(), kept.array_col.tolist()) == (
        ["AAAG-1"],
        [[4000, 300]],
        [6],
    )


BROKEN = {
    "empty": ([""], "cannot be read as a table of positions"),
    "another table": (
        ["a,b", "1,2"],
        "not a table of positions: its columns are a, b; columns x and y in level-0 px are missing",
    ),
    "no ids": (["x,y", "1,2"], "no column of ids; beside x and y one called barcode or id is needed"),
    "text for x": (["id,x,y", "a,1,2", "b,left,3"], "columns x and y must be numbers; one is 'left' .row 2, x."),
    "no y": (["id,x,y", "a,1,"], "columns x and y must be numbers; some are missing"),
    "infinite": (["id,x,y", "a,inf,1"], "columns x and y must be numbers; some are missing or infinite"),
    "same id": (["id,x,y", "a,1,2", "a,3,4"], "some spot ids occur twice"),
    "pixel gap": ([HEADER, "A-1,1,0,0,,5"], "pxl_col_in_fullres and pxl_row_in_fullres must be numbers"),
    "array gap": ([HEADER, "A-1,1,,0,5,5"], "array_row and array_col must be numbers"),
    "array text": ([HEADER, "A-1,1,first,0,5,5"], "array_row and array_col must be numbers"),
    "ST array gap": (["x,y,pixel_x,pixel_y", ",1,5,5"], "columns y and x must be numbers"),
    "plain array text": (["id,x,y,array_row,array_col", "a,1,2,top,3"], "array_row and array_col must be"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_tables_are_usage_errors_that_name_file_and_reason(tmp_path: Path, case: str) -> None:
    lines, reason = BROKEN[case]
    with pytest.raises(UsageError, match=reason) as caught:
        read_positions(write(tmp_path / "spots.csv", *lines))
    assert str(caught.value).startswith("spots.csv: ")
    assert str(tmp_path) not in str(caught.value)


def test_files_that_are_not_there_or_not_tables(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^gone\.csv: no such file of positions$"):
        read_positions(tmp_path / "gone.csv")
    with pytest.raises(UsageError, match=r"^x\.parquet: cannot be read as a table"):
        read_positions(write(tmp_path / "x.parquet", "no parquet"))
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01\x80")
    with pytest.raises(UsageError, match=r"^x\.csv: cannot be read as a table"):
        read_positions(tmp_path / "x.csv")


# --- real files


def test_real_space_ranger_3(data_dir: Path) -> None:
    path = data_dir / "visium-sr3/spatial/tissue_positions.csv"
    found, table = read_positions(path), pd.read_csv(path)
    assert len(found.barcode) == len(table) and found.in_tissue.sum() == table["in_tissue"].sum() > 2000
    # On a Visium array, columns are half a spot apart and rows √3/2: x follows the column, y the row.
    assert abs(np.corrcoef(found.array_col, found.xy_l0[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(found.array_row, found.xy_l0[:, 1])[0, 1]) > 0.99


def test_real_her2st(data_dir: Path) -> None:
    found = read_positions(data_dir / "her2st/spots/C5_selection.tsv")
    assert len(found.barcode) == 183 and found.in_tissue.all()
    pitch = (
        np.polyfit(found.array_col, found.xy_l0[:, 0], 1)[0],
        np.polyfit(found.array_row, found.xy_l0[:, 1], 1)[0],
    )
    np.testing.assert_allclose(pitch, (9272 / 32, 9901 / 34), rtol=0.01)


def test_real_mob_marks_what_is_under_tissue(data_dir: Path) -> None:
    found = read_positions(data_dir / "mob-2k/alignment_table_MOB1.tsv")
    assert found.in_tissue.sum() >= 379
    assert not found.in_tissue.all()
    assert (found.xy_l0.max(axis=0) < 1905).all()
