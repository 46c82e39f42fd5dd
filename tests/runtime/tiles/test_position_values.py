"""What the cells of a table of positions say: words for yes and no, decimal commas, ids; never a silent guess."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bleep_cli.errors import UsageError
from bleep_cli.tiles.positions import Positions, positions_in, read_positions

HEAD = "barcode,{},array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"


def read(path: Path, lines: list[str]) -> Positions:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_positions(path)


def space_ranger(column: str, first: str, second: str) -> list[str]:
    return [HEAD.format(column), f"AAAC-1,{first},0,4,100,2000.5", f"AAAG-1,{second},2,6,300,4000"]


@pytest.mark.parametrize(
    ("yes", "no"),
    [("yes", "no"), ("True", "False"), ("TRUE", "FALSE"), ("T", "F"), ("y", "n"), ("1.0", "0.0"), (" 1", "0 ")],
)
@pytest.mark.parametrize("column", ["in_tissue", "selected", "In Tissue"])
def test_in_tissue_as_words(tmp_path: Path, yes: str, no: str, column: str) -> None:
    assert read(tmp_path / "p.csv", space_ranger(column, yes, no)).in_tissue.tolist() == [True, False]


def test_a_plain_table_may_say_what_is_in_tissue(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", ["id,x,y,in_tissue", "a,1,2,no", "b,3,4,yes"])
    assert found.in_tissue.tolist() == [False, True]
    kinds = read(tmp_path / "p.csv", ["id,x,y,tissue", "a,1,2,liver", "b,3,4,liver"])  # no statement about a spot
    assert kinds.in_tissue.tolist() == [True, True]


@pytest.mark.parametrize("value", ["maybe", "", "2", "NA"])
def test_in_tissue_that_says_neither(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=rf"column in_tissue says .*1 or 0, true or false.*holds '{value}'"):
        read(tmp_path / "p.csv", space_ranger("in_tissue", "1", value))


def test_decimal_commas(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", ["id;x;y", "a;2000,5;100", "b;4000;300,125"])
    assert found.xy_l0.tolist() == [[2000.5, 100], [4000, 300.125]]
    assert read(tmp_path / "p.csv", ["id;x;y", "a;12,345;1"]).xy_l0.tolist() == [[12.345, 1]]
    assert read(tmp_path / "p.tsv", ["id\tx\ty", "a\t0,25\t1"]).xy_l0.tolist() == [[0.25, 1]]
    assert read(tmp_path / "p.csv", ['"id","x","y"', '"a","2,5","1"']).xy_l0.tolist() == [[2.5, 1]]


def test_a_comma_that_may_group_digits_is_asked_about(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is the comma of '12,345' a decimal one, or does it group digits\?"):
        read(tmp_path / "p.tsv", ["id\tx\ty", "a\t12,345\t1"])
    with pytest.raises(UsageError, match=r"must be numbers; one is '1,234,567' .row 1, x.$"):
        read(tmp_path / "p.tsv", ["id\tx\ty", "a\t1,234,567\t1"])


def test_which_column_holds_the_ids(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", ["sample,id,barcode,x,y", "s,1,AAAC,1,2", "s,1,AAAG,3,4"])
    assert (found.barcode.tolist(), found.findings) == (["AAAC", "AAAG"], ())
    found = read(tmp_path / "p.csv", ["id,name,x,y", "s,a,1,2", "s,b,3,4"])  # ids differ from row to row
    assert found.barcode.tolist() == ["a", "b"]
    found = read(tmp_path / "p.csv", ["Stelle,x,y", "a,1,2", "b,3,4"])
    assert found.barcode.tolist() == ["a", "b"]
    assert [str(finding) for finding in found.findings] == [
        "p.csv: no column is called barcode or id; 'Stelle' was taken for it"
    ]
    assert read(tmp_path / "p.csv", [",x,y", "0,1,2", "1,3,4"]).barcode.tolist() == ["0", "1"]


def test_the_table_of_a_folder(tmp_path: Path) -> None:
    lines = space_ranger("in_tissue", "1", "0")
    spatial = tmp_path / "outs" / "spatial"
    spatial.mkdir(parents=True)
    (spatial / "GSM1_tissue_positions_list.csv.gz").write_bytes(gzip.compress("\n".join(lines[1:]).encode()))
    for folder in (spatial, tmp_path / "outs"):
        assert read_positions(folder).xy_l0.tolist() == [[2000.5, 100], [4000, 300]]
    (spatial / "GSM1_tissue_positions.csv").write_text("\n".join(lines))
    assert [path.name for path in positions_in(spatial)] == ["GSM1_tissue_positions.csv"]
    (spatial / "GSM2_tissue_positions.parquet").write_text("")
    with pytest.raises(
        UsageError, match=r"^spatial: a folder with GSM1_tissue_positions\.csv, GSM2_.*name the file"
    ):
        read_positions(spatial)
    with pytest.raises(UsageError, match="a folder with no tissue_positions; name the file"):
        read_positions(tmp_path)


@pytest.mark.parametrize("row", ["9223372036854775807", "1e300", "-2147483648"])
def test_a_row_of_the_array_that_no_array_has(tmp_path: Path, row: str) -> None:
    lines = [HEAD.format("in_tissue"), f"AAAC-1,1,{row},4,100,200", "AAAG-1,1,2,6,300,400"]
    with pytest.raises(UsageError, match=r"p\.csv: a row or column of the array of spots is beyond 2,147,483,647"):
        read(tmp_path / "p.csv", lines)
