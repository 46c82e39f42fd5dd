"""Positions of measured sections: tables that need the image for their unit; findings travel with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

QUPATH = ["Object ID\tCentroid X µm\tCentroid Y µm", "a\t10\t20", "b\t30\t15"]


def read(folder: Path, positions: list[str], encoding: str = "utf-8", **entry: Any) -> Section:
    Image.new("RGB", (200, 100)).save(folder / "i.png")
    (folder / "c.tsv").write_text("\tA\tB\na\t1\t2\nb\t3\t4\n")
    (folder / "p.txt").write_bytes("\n".join(positions).encode(encoding))
    named = {"id": "s", "donor": "d", "image": "i.png", "min_counts": 0, "counts": "c.tsv", "positions": "p.txt"}
    return read_section(named | entry, folder)


def test_micrometres_of_qupath_become_pixels(tmp_path: Path) -> None:
    found = read(tmp_path, QUPATH, mpp=0.5)
    assert found.xy_l0.tolist() == [[20, 40], [60, 30]]
    assert [str(finding) for finding in found.findings] == ["s: positions in µm were divided by 0.5 µm per px"]


def test_micrometres_without_a_scale_name_the_key_that_tells_it(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError) as caught:
        read(tmp_path, QUPATH)
    assert str(caught.value).startswith("section s: ")
    assert ("mpp" in caught.value.options, caught.value.origin) == (True, "cohort file")


def test_what_was_guessed_in_the_table_is_said_of_the_section(tmp_path: Path) -> None:
    found = read(tmp_path, ["Stück;x;y", "a;10,5;20", "b;30;15"], "cp1252", mpp=0.5)
    assert found.xy_l0.tolist() == [[10.5, 20], [30, 15]]
    assert [finding.code for finding in found.findings] == ["text-encoding-guessed", "positions-ids-guessed"]


def test_no_position_in_tissue(tmp_path: Path) -> None:
    with pytest.raises(
        ReferenceError, match=r"section s: no spot has both counts .*: none of 2 positions is in tissue"
    ):
        read(tmp_path, ["id,x,y,in_tissue", "a,1,2,no", "b,3,4,no"], mpp=0.5)
