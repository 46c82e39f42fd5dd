"""Folders and patterns in place of slides: what they stand for, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.batch.listed import list_slides
from bleep_cli.errors import UsageError


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def listed(*given: Path) -> tuple[list[Path], list[str]]:
    entries, lines = list_slides(given)
    return [entry.slide for entry in entries], lines


def test_the_slides_of_a_folder_without_what_lies_beside_them(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "b.svs", "A.NDPI", "c.ome.tif", "notes.txt", "m.geojson", "thumb.png", ".d.svs")
    made(folder, "a.bleep.png", "a.h5ad", "deeper/e.svs")
    assert listed(folder) == (
        [folder / "A.NDPI", folder / "b.svs", folder / "c.ome.tif"],
        ["3 slides: A.NDPI, b.svs, c.ome.tif; left out beside them: 1 picture (thumb.png)"],
    )


def test_pictures_are_slides_where_there_are_no_others(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "b.jpg", "a.png", "a.bleep.png")
    assert listed(folder) == ([folder / "a.png", folder / "b.jpg"], ["2 slides: a.png, b.jpg"])


def dicom(path: Path, series: str) -> Path:
    """The head of a DICOM file that names its series."""
    path.parent.mkdir(parents=True, exist_ok=True)
    uid = series.encode().ljust(8, b"\0")
    path.write_bytes(bytes(128) + b"DICM" + b"\x20\x00\x0e\x00UI" + len(uid).to_bytes(2, "little") + uid)
    return path


def test_a_dicom_series_is_one_slide(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "s.svs", "notes")
    one = [dicom(folder / "one" / name, "1.2.3") for name in ("1.dcm", "2.dcm", "1.2.840.3")]
    two = [dicom(folder / "two" / name, uid) for name, uid in (("a", "1"), ("b", "2"), ("c", "2"))]
    assert listed(folder / "one") == ([folder / "one"], ["1 slide: one"])
    assert listed(folder / "two") == (two[:2], ["2 slides: a, b"])
    assert listed(folder)[0] == [folder / "one", folder / "s.svs", *two[:2]]
    assert listed(*one) == ([one[0]], ["2 further files of the same DICOM series"])
    assert listed(folder / "one" / "*.dcm") == ([one[0]], ["1 slide: 1.dcm"])
    assert listed(folder / "*")[0] == [folder / "one", folder / "s.svs", *two[:2]]


def test_patterns_stand_beside_slides(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", "a.svs", "b.svs", "c.tif", "x/d.svs")
    slides, lines = listed(folder / "c.tif", folder / "*.svs")
    assert slides == [folder / "c.tif", folder / "a.svs", folder / "b.svs"]
    assert lines == ["2 slides: a.svs, b.svs"]
    assert listed(folder / "**" / "*.svs")[0] == [folder / "a.svs", folder / "b.svs", folder / "x/d.svs"]
    odd = made(tmp_path / "g", "[1].svs")
    assert listed(odd / "[1].svs") == ([odd / "[1].svs"], [])  # a file of that name is no pattern


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    folder = made(tmp_path / "f", *(f"{i:03}.svs" for i in range(60)))
    (line,) = listed(folder)[1]
    assert line.startswith("60 slides: 000.svs, 001.svs, ") and line.endswith(", 049.svs and 10 more")


def test_a_folder_or_pattern_without_slides_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "f", "notes.txt", "deeper/e.NDPI")
    with pytest.raises(
        UsageError, match=r"^f holds no slides; those of its folders are '\*\*/\*\.ndpi' in quotes$"
    ):
        list_slides([tmp_path / "f"])
    with pytest.raises(UsageError, match=r"^\*\.svs matches no slide$"):
        list_slides([tmp_path / "f" / "*.svs"])
    with pytest.raises(UsageError, match=r"^deepest holds no slides$"):
        list_slides([made(tmp_path, "deepest/a.txt") / "deepest"])
