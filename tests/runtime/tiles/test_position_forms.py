"""Tables of positions as programs and people write them: read right, or refused with the cause."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pandas as pd
import pytest

from bleep_cli.errors import UsageError
from bleep_cli.tiles.positions import Positions, read_positions
from bleep_cli.types import Slide

TABLE = {  # row = y = 100, column = x = 2000.5
    "barcode": ["AAAC-1", "AAAG-1"],
    "in_tissue": ["1", "0"],
    "array_row": ["0", "2"],
    "array_col": ["4", "6"],
    "pxl_row_in_fullres": ["100", "300"],
    "pxl_col_in_fullres": ["2000.5", "4000"],
}
SEURAT = dict(zip(TABLE, ["barcode", "tissue", "row", "col", "imagerow", "imagecol"], strict=True))
QUPATH = ["Image", "Object ID", "Name", "Class", "Centroid X {}", "Centroid Y {}"]


def lines_of(table: dict[str, list[str]], separator: str = ",") -> list[str]:
    return [separator.join(row) for row in [list(table), *map(list, zip(*table.values(), strict=True))]]


def renamed(names: dict[str, str], **columns: list[str]) -> dict[str, list[str]]:
    return {names.get(name, name): columns.get(name, values) for name, values in TABLE.items()}


def read(path: Path, lines: list[str], encoding: str = "utf-8", end: str = "\n") -> Positions:
    path.write_bytes((end.join(lines) + end).encode(encoding))
    return read_positions(path)


def assert_the_two(found: Positions, *, array: bool = True, findings: tuple[str, ...] = ()) -> None:
    assert found.barcode.tolist() == ["AAAC-1", "AAAG-1"]
    assert found.xy_l0.tolist() == [[2000.5, 100], [4000, 300]]
    assert found.in_tissue.tolist() == [True, False]
    if array:
        assert (found.array_row.tolist(), found.array_col.tolist()) == ([0, 2], [4, 6])
    assert tuple(finding.code for finding in found.findings) == findings


# --- separators, encodings, line ends


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", "   "])
@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.txt", "p"])
def test_the_separator_is_told_by_the_text_not_by_the_name(tmp_path: Path, separator: str, name: str) -> None:
    assert_the_two(read(tmp_path / name, lines_of(TABLE, separator)))
    assert_the_two(read(tmp_path / name, lines_of(TABLE, separator)[1:]))  # Space Ranger 1: no header


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end(tmp_path: Path, encoding: str, end: str) -> None:
    assert_the_two(read(tmp_path / "p.csv", lines_of(TABLE), encoding, end))


def test_a_byte_order_mark_of_utf_16_the_other_way_round(tmp_path: Path) -> None:
    assert_the_two(read(tmp_path / "p.csv", ["\ufeff" + lines_of(TABLE)[0], *lines_of(TABLE)[1:]], "utf-16-be"))


@pytest.mark.parametrize(
    ("encoding", "codes"), [("utf-8", ()), ("utf-16", ()), ("cp1252", ("text-encoding-guessed",))]
)
def test_umlauts_in_ids(tmp_path: Path, encoding: str, codes: tuple[str, ...]) -> None:
    found = read(tmp_path / "Präparat.csv", ["id,x,y", "Höhle,1,2", "Zürich,3,4"], encoding)
    assert found.barcode.tolist() == ["Höhle", "Zürich"]
    assert tuple(finding.code for finding in found.findings) == codes


@pytest.mark.parametrize("name", ["p.csv.gz", "p.csv"])
def test_gzip_whatever_the_name_says(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress("\n".join(lines_of(TABLE)).encode()))
    assert_the_two(read_positions(tmp_path / name))


def test_a_gzip_name_of_a_file_that_was_unpacked(tmp_path: Path) -> None:
    assert_the_two(read(tmp_path / "p.csv.gz", lines_of(TABLE)))


# --- headers, comments, quotes, blank lines


def test_quotes_spaces_and_blank_lines(tmp_path: Path) -> None:
    quoted = [",".join(f'"{field}"' for field in line.split(",")) for line in lines_of(TABLE)]
    assert_the_two(read(tmp_path / "p.csv", quoted))
    spaced = [line.replace(",", " , ") for line in lines_of(TABLE)]
    assert_the_two(read(tmp_path / "p.csv", ["", *spaced, "", ",,,,,", ""]))
    head, *rows = (line + "," for line in lines_of(TABLE))  # a separator at each end
    assert_the_two(read(tmp_path / "p.csv", [head, *rows]))
    assert_the_two(read(tmp_path / "p.csv", [head.rstrip(","), *rows]))


def test_comments_and_the_line_that_excel_writes(tmp_path: Path) -> None:
    head, *rows = lines_of(TABLE)
    assert_the_two(read(tmp_path / "p.csv", ["# spots, exported", "# twice", head, rows[0], "# gap", rows[1]]))
    assert_the_two(read(tmp_path / "p.csv", ["sep=;", *lines_of(TABLE, ";")]))
    assert_the_two(read(tmp_path / "p.csv", ["# spots", "#" + head, *rows]))  # the header is a comment itself


def test_order_case_and_spelling_of_columns(tmp_path: Path) -> None:
    backwards = dict(reversed(TABLE.items()))
    assert_the_two(read(tmp_path / "p.csv", lines_of(backwards)))
    shouted = {name.upper(): values for name, values in TABLE.items()}
    assert_the_two(read(tmp_path / "p.csv", lines_of(shouted)))
    dotted = {name.replace("_", ".").title(): values for name, values in TABLE.items()}
    assert_the_two(read(tmp_path / "p.csv", lines_of(dotted)))
    other = {name.replace("fullres", "full_res"): values for name, values in TABLE.items()}
    assert_the_two(read(tmp_path / "p.csv", lines_of(other)))


# --- the programs


@pytest.mark.parametrize("ids", ["barcode", "", "Unnamed: 0", "index"])
def test_seurat(tmp_path: Path, ids: str) -> None:
    table = {ids if name == "barcode" else name: values for name, values in renamed(SEURAT).items()}
    assert_the_two(read(tmp_path / "p.csv", lines_of(table)))


def test_r_without_a_corner(tmp_path: Path) -> None:
    head, *rows = lines_of(renamed(SEURAT), " ")
    assert_the_two(read(tmp_path / "p.txt", [head.partition(" ")[2], *rows]))


def test_r_calls_a_column_without_a_name_x(tmp_path: Path) -> None:
    found = read(tmp_path / "p.csv", lines_of(renamed(SEURAT | {"barcode": "X"})))
    assert_the_two(found, findings=("positions-ids-guessed",))
    found = read(tmp_path / "p.csv", ["X,x,y", "a,1,2"])
    assert (found.barcode.tolist(), found.xy_l0.tolist()) == (["a"], [[1, 2]])


def test_seurat_5_has_x_and_y_the_other_way_round(tmp_path: Path) -> None:
    lines = [",x,y,cell", *(f"{name},100,2000,{name}" for name in ("A" * 16 + "-1", "C" * 16 + "-1"))]
    with pytest.raises(
        UsageError, match=r"as Seurat 5 writes them: there x is the row .*call x imagerow and y imagecol"
    ):
        read(tmp_path / "p.csv", lines)
    renamed_by_hand = [lines[0].replace("x,y", "imagerow,imagecol"), *lines[1:]]
    assert read(tmp_path / "p.csv", renamed_by_hand).xy_l0.tolist() == [[2000, 100], [2000, 100]]
    cells = read(tmp_path / "p.csv", ["x,y,cell", "1,2,aaab-1", "3,4,aaac-1"])  # of no Visium slide
    assert (cells.barcode.tolist(), cells.xy_l0.tolist()) == (["aaab-1", "aaac-1"], [[1, 2], [3, 4]])


def test_st_and_stutility_with_ids_of_their_own(tmp_path: Path) -> None:
    found = read(tmp_path / "s.tsv", ["\tx\ty\tpixel_x\tpixel_y", "7x3_1\t7\t3\t700\t300"])
    assert (found.barcode.tolist(), found.xy_l0.tolist()) == (["7x3_1"], [[700, 300]])
    assert (found.array_col.tolist(), found.array_row.tolist()) == ([7], [3])
    found = read(tmp_path / "s.csv", ["spot;pixel_x;pixel_y", "a;1,5;2"])
    assert (found.barcode.tolist(), found.xy_l0.tolist()) == (["a"], [[1.5, 2]])


@pytest.mark.parametrize("named", [True, False])
def test_parquet_with_the_barcode_as_index(tmp_path: Path, named: bool) -> None:
    table = pd.DataFrame(TABLE).astype(dict.fromkeys(list(TABLE)[1:], float)).set_index("barcode")
    (table if named else table.rename_axis(None)).to_parquet(tmp_path / "p.parquet")
    assert_the_two(read_positions(tmp_path / "p.parquet"))
    pd.DataFrame(TABLE).to_parquet(tmp_path / "p.parquet")  # numbers as text, an index of rows
    assert_the_two(read_positions(tmp_path / "p.parquet"))
    table.assign(barcode=table.index, in_tissue=[True, False]).to_parquet(tmp_path / "named.csv")
    assert_the_two(read_positions(tmp_path / "named.csv"))


# --- QuPath


def qupath(folder: Path, unit: str, rows: list[str], encoding: str = "utf-8", separator: str = "\t") -> Path:
    head = separator.join(QUPATH).format(unit, unit)
    path = folder / "measurements.txt"
    path.write_bytes("\n".join([head, *(row.replace("\t", separator) for row in rows)]).encode(encoding))
    return path


CELLS = ["s.svs\tu-1\t\tTumor\t10.5\t20", "s.svs\tu-2\t\tTumor\t30\t40"]


@pytest.mark.parametrize("separator", ["\t", ",", ";"])
def test_qupath_in_pixels(tmp_path: Path, separator: str) -> None:
    found = read_positions(qupath(tmp_path, "px", CELLS, separator=separator))
    assert found.barcode.tolist() == ["u-1", "u-2"]
    assert (found.xy_l0.tolist(), found.findings) == ([[10.5, 20], [30, 40]], ())


@pytest.mark.parametrize(
    ("unit", "encoding"), [("µm", "utf-8"), ("μm", "utf-8"), ("µm", "cp1252"), ("Âµm", "utf-8"), ("um", "utf-8")]
)
def test_qupath_in_micrometres(tmp_path: Path, unit: str, encoding: str) -> None:
    found = read_positions(qupath(tmp_path, unit, CELLS, encoding), lambda: 0.25)
    assert found.xy_l0.tolist() == [[42, 80], [120, 160]]
    assert "positions in µm were divided by 0.25 µm per px" in [finding.what for finding in found.findings]


def test_qupath_counts_from_the_scanned_part(tmp_path: Path) -> None:
    positions = read_positions(qupath(tmp_path, "µm", CELLS), lambda: 0.5)
    assert (positions.of_qupath, positions.xy_l0.tolist()) == (True, [[21, 40], [60, 80]])
    whole, part = (
        cast(Slide, SimpleNamespace(name="s.scn", bounds_l0=b)) for b in ((0, 0, 9, 9), (3000, 2000, 9, 9))
    )
    assert positions.on(whole) is positions
    found = positions.on(part)
    assert found.xy_l0.tolist() == [[3021, 2040], [3060, 2080]]
    assert [finding.code for finding in found.findings] == ["positions-in-um", "positions-moved"]
    assert found.on(part) is found  # once
    with pytest.raises(UsageError, match=r"are in µm, which only their slide turns into pixels"):
        read_positions(qupath(tmp_path, "µm", CELLS))


def test_qupath_without_ids_and_of_several_images(tmp_path: Path) -> None:
    rows = [row.replace("u-1", "").replace("u-2", "") for row in CELLS]
    found = read_positions(qupath(tmp_path, "px", rows))
    assert found.barcode.tolist() == ["1", "2"]
    assert [finding.code for finding in found.findings] == ["positions-ids-guessed"]
    with pytest.raises(UsageError, match=r"^measurements\.txt: rows of several images; export those of one$"):
        read_positions(qupath(tmp_path, "px", [CELLS[0], CELLS[1].replace("s.svs", "t.svs")]))


# --- refused, with the cause

CAUSES = {
    "half a pair": (["id,pixel_x,y", "a,1,2"], "it has pixel_x but no pixel_y; its columns are id, pixel_x, y$"),
    "the other half": (["id,Y", "a,1"], "it has Y but no x; its columns are id, Y$"),
    "no coordinates": (
        ["barcode,cluster", "a,1"],
        "its columns are barcode, cluster; columns x and y in level-0 px",
    ),
    "many columns": ([",".join("abcdefghij"), ",".join("1234567890")], "are a, b, c, d, e, f, g, h and 2 more;"),
    "no header": (["AAAC,10,20", "AAAG,30,40"], r"first line names no columns .AAAC, 10, 20.; put one above"),
    "one column": (["x", "1"], "lines are of one column, not separated by tabs, semicolons, commas, bars, spaces"),
    "ragged": (["id,x,y", "a,1,2", "b,1,2,3"], "row 2 has 4 fields, row 1 has 3"),
    "header too long": (["id,x,y", "a,1", "b,1"], "row 1 has 2 fields, the header 3"),
    "no rows": (["id,x,y"], "a table of positions without a row"),
    "JSON": (['{"features": [1, 2]}'], "it is JSON, no table"),
    "two of a name": (["id,Pixel_X,PIXEL_X,pixel_y", "a,1,2,3"], "columns Pixel_X and PIXEL_X are the same"),
    "an id missing": (["id,x,y", "a,1,2", ",3,4"], "row 2 has no id"),
    "German thousands": (["id;x;y", "a;1.234,5;2"], "one is '1.234,5' .row 1, x."),
    "a unit in the cell": (["id,x,y", "a,1 px,2"], "one is '1 px' .row 1, x."),
}


@pytest.mark.parametrize("case", CAUSES)
def test_what_cannot_be_read_is_refused_with_its_cause(tmp_path: Path, case: str) -> None:
    lines, cause = CAUSES[case]
    with pytest.raises(UsageError, match=cause) as caught:
        read(tmp_path / "spots.csv", lines)
    assert str(caught.value).startswith("spots.csv: ")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"PK\x03\x04....", "it is an Excel workbook or another zip archive; save it as CSV"),
        (b"\x89HDF\r\n\x1a\n", "it is an HDF5 file, no table of text"),
        (gzip.compress(b"id,x,y\na,1,2\n", mtime=0)[:-9], "its gzip compression is broken or cut short"),
        (b"\x00\x01\x02\x03" * 9, "it is no text"),
        (bytes(257) + b"ustar" + bytes(300), "it is a tar archive; unpack it"),
    ],
)
def test_files_that_hold_something_else(tmp_path: Path, data: bytes, cause: str) -> None:
    (tmp_path / "p.csv").write_bytes(data)
    with pytest.raises(UsageError, match=rf"^p\.csv: cannot be read as a table of positions \({cause}\)$"):
        read_positions(tmp_path / "p.csv")


def test_a_real_table_in_every_dress(tmp_path: Path, data_dir: Path) -> None:
    path = data_dir / "visium-sr3/spatial/tissue_positions.csv"
    plain, table = read_positions(path), pd.read_csv(path)
    table.to_csv(tmp_path / "a.csv", sep=";", decimal=",", index=False, encoding="utf-16")
    table.rename(columns=SEURAT).set_index("barcode").rename_axis(None).to_csv(tmp_path / "b.csv", sep="\t")
    table.set_index("barcode").to_parquet(tmp_path / "c.parquet")
    table.replace({"in_tissue": {1: "yes", 0: "no"}}).to_csv(tmp_path / "d.csv.gz", index=False)
    for other in ("a.csv", "b.csv", "c.parquet", "d.csv.gz"):
        found = read_positions(tmp_path / other)
        np.testing.assert_allclose(found.xy_l0, plain.xy_l0, rtol=1e-15, err_msg=other)  # pandas' last bit
        for column in ("barcode", "array_row", "array_col", "in_tissue"):
            np.testing.assert_array_equal(getattr(found, column), getattr(plain, column), err_msg=other)
