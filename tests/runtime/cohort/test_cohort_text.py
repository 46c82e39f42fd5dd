"""The cohort file as editors on Windows save it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.cohort.cohort_file import cohort_entries, cohort_texts
from bleep_cli.errors import ReferenceError

TEXT = 'species = "Homo sapiens"\n[[section]]\nid = "a"\ndonor = "d"\nimage = "i.png"\nh5ad = "x.h5ad"\n'


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "cohort.toml"
    path.write_bytes(TEXT.replace("\n", "\r\n").encode(encoding))
    assert cohort_entries(path) == [{"id": "a", "donor": "d", "image": "i.png", "h5ad": "x.h5ad"}]
    assert cohort_texts(path) == {"species": "Homo sapiens"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            'h5ad = "C:\\Users\\x.h5ad"',
            r"cohort\.toml: not valid TOML .*: write paths with / or in 'single quotes'",
        ),
        ('h5ad = "C:\\temp\\x.h5ad"', r"not valid TOML .*: write paths with / or in 'single quotes'"),
        (
            'h5ad = "C:\\temp\\new.h5ad"',
            r"section a: h5ad holds a special character, .*: write paths with / or in",
        ),
        ('donor = "e"\nh5ad = "x"', r"not valid TOML .*: donor stands there twice"),
    ],
)
def test_backslashes_and_keys_that_stand_there_twice(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "cohort.toml"
    path.write_text(TEXT.replace('h5ad = "x.h5ad"', line))
    with pytest.raises(ReferenceError, match=told):
        cohort_entries(path)
