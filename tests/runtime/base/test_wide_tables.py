"""A table of counts whose header alone is larger than what the csv module takes for one field."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.base.files.text_table import read_text_table


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_header_of_many_genes_is_taken_apart(tmp_path: Path, separator: str) -> None:
    genes = [f"ENSMUSG{i:011d}" for i in range(15_000)]
    lines = [separator.join(["", *genes]), separator.join(["a", *["1"] * 15_000]), ""]
    path = tmp_path / "counts.txt"
    path.write_text("\n".join(lines))
    assert path.stat().st_size > 2 * 131_072
    text = read_text_table(path)
    assert text.separator == separator
