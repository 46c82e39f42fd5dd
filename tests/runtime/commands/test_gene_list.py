"""``--genes``: names, or a file of them as any editor saves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.commands.predict import gene_list
from bleep_cli.errors import UsageError


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", ["CYP3A4\r\nGLUL\r\n", "CYP3A4, GLUL", '"CYP3A4";"GLUL"\n', "CYP3A4\tGLUL\n"])
def test_a_file_of_genes(tmp_path: Path, encoding: str, text: str) -> None:
    (tmp_path / "genes.txt").write_bytes(text.encode(encoding))
    assert gene_list(str(tmp_path / "genes.txt")) == ("CYP3A4", "GLUL")


def test_names_in_place_of_a_file() -> None:
    assert gene_list("CYP3A4,GLUL") == gene_list(" CYP3A4 ; GLUL ") == ("CYP3A4", "GLUL")
    assert gene_list(None) is None
    with pytest.raises(UsageError, match="genes names no gene"):
        gene_list(" , ")


def test_a_workbook_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "genes.xlsx").write_bytes(b"PK\x03\x04 and more")
    with pytest.raises(UsageError, match=r"genes genes\.xlsx cannot be read .*Excel workbook.* save it as CSV"):
        gene_list(str(tmp_path / "genes.xlsx"))
