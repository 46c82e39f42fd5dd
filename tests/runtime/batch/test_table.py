"""A table of slides: what it may look like, what a row says, and everything that is wrong with it at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bleep_cli.batch.entries import Entry
from bleep_cli.batch.table import COLUMNS, read_table
from bleep_cli.errors import UsageError


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "slides.csv"
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize(
    ("separator", "decimal", "encoding", "line_end"),
    [
        (",", ".", "utf-8", "\n"),
        (";", ",", "utf-8-sig", "\r\n"),
        ("\t", ".", "utf-8-sig", "\n"),
        (";", ".", "utf-16", "\n"),
        (",", ".", "cp1252", "\r\n"),
    ],
)
def test_a_table_of_any_separator(
    tmp_path: Path, separator: str, decimal: str, encoding: str, line_end: str
) -> None:
    rows = [
        ["slide", "name", "mpp", "mask", "at"],
        ["A/scan.svs", "a", f"0{decimal}2527", "A/outline.geojson", ""],
        ["", "", "", "", ""],
        ["B/Müller 2.svs", "", "", "", "B/spots.csv"],
    ]
    path = written(tmp_path, line_end.join(separator.join(row) for row in rows), encoding)
    assert read_table(path) == [
        Entry(
            tmp_path / "A/scan.svs",
            "a",
            {"mpp": 0.2527, "mask": tmp_path / "A/outline.geojson"},
            "slides.csv, row 2",
        ),
        Entry(tmp_path / "B/Müller 2.svs", "", {"at": tmp_path / "B/spots.csv"}, "slides.csv, row 4"),
    ]


def test_one_column_is_enough_and_absolute_paths_stay(tmp_path: Path) -> None:
    path = written(tmp_path, f"Slide\na.svs\n{tmp_path / 'x' / 'b.svs'}\n\n")
    assert [entry.slide for entry in read_table(path)] == [tmp_path / "a.svs", tmp_path / "x" / "b.svs"]


def test_excels_own_first_line(tmp_path: Path) -> None:
    (entry,) = read_table(written(tmp_path, "sep=;\nslide;name\na.svs;a\n"))
    assert (entry.slide, entry.name, entry.where) == (tmp_path / "a.svs", "a", "slides.csv, row 3")


def test_columns_without_a_name_and_further_options(tmp_path: Path) -> None:
    head = "slide;stride_um;min_tissue;scene;origin;mask_class;;\n"
    path = written(tmp_path, head + "a.svs;56;0,25;1;level0;Tumor, Stroma;;\n")
    (entry,) = read_table(path)
    numbers = {"stride_um": 56.0, "min_tissue": 0.25}
    assert entry.options == numbers | {"scene": "1", "origin": "level0", "mask_class": ("Tumor", "Stroma")}
    with pytest.raises(UsageError, match=r"^slides\.csv, row 2: origin corner is none of auto, "):
        read_table(written(tmp_path, "slide,origin\na.svs,corner\n"))


@pytest.mark.skipif(os.sep == "\\", reason="these are the paths of Windows")
def test_a_table_that_was_written_on_windows(tmp_path: Path) -> None:
    path = written(tmp_path, "slide,mask\nA\\scan.svs,A\\m.png\n")
    (entry,) = read_table(path)
    assert (entry.slide, entry.options["mask"]) == (tmp_path / "A" / "scan.svs", tmp_path / "A" / "m.png")


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "slide,mpp\na.svs,half\n,0.5\nb.svs,0.5,what\nc.svs,nan\nd.svs,0.5\n")
    with pytest.raises(UsageError) as caught:
        read_table(path)
    assert str(caught.value).splitlines() == [
        "slides.csv, row 2: mpp half is not a number",
        "slides.csv, row 3: names no slide",
        "slides.csv, row 4: 3 cells under 2 columns",
        "slides.csv, row 5: mpp nan is not a number",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; columns are slide, name, mpp, mask, at"),
        ("slide,mpp\n", "holds no slide below its header"),
        ("path,mpp\na.svs,1\n", "has no column slide; columns are slide, name, mpp"),
        ("slide,mppp\na.svs,1\n", r"column mppp is not known; did you mean mpp\?; columns are slide, name"),
        ("slide,,mpp\na.svs,,1\n", r"column \(without a name\) is not known"),
        ("slide,mpp,mpp\na.svs,1,2\n", "has the column mpp twice"),
    ],
)
def test_what_is_no_table_of_slides(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=rf"^slides\.csv: {words}"):
        read_table(written(tmp_path, text))


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^slides slides\.csv: no such file$"):
        read_table(tmp_path / "slides.csv")
    with pytest.raises(UsageError, match=r"^slides\.csv: is no table of slides \(it is an Excel workbook or "):
        read_table(written(tmp_path, "PK\3\4"))


def test_every_column_but_the_first_two_is_an_option() -> None:
    from bleep_cli.prediction.options import PredictOptions

    assert list(COLUMNS)[:2] == ["slide", "name"]
    assert set(list(COLUMNS)[2:]) <= set(vars(PredictOptions()))
