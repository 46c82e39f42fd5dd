"""TOML as people write it, and what mends what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.base.files.toml_file import has_control, read_toml


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    lines = ['donor = "Jürgen"', "min_counts = 3", ""]
    (tmp_path / "a.toml").write_bytes(end.join(lines).encode(encoding))
    assert read_toml(tmp_path / "a.toml") == {"donor": "Jürgen", "min_counts": 3}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a = 1\nb = "C:\\Users\\me\\outs"', r"line 2, .*: write paths with / or in 'single quotes'$"),
        ('b = "data\\section.h5ad"', "write paths with / or in 'single quotes'$"),
        ('b = "outs\\"\n', "write paths with / or in 'single quotes'$"),
        ('a = "x"\nb = 1\na = "y"', r"Cannot overwrite a value .*: a stands there twice$"),
        ("a = “x”", r'write plain quotes, ", not typographic ones$'),
        ("a = ", r"at end of document\)$"),
        ("a b", "Expected '='"),
    ],
)
def test_what_is_no_toml_says_what_mends_it(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=told):
        read_toml(tmp_path / "a.toml")


def test_a_file_of_a_byte_order_mark_alone(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="nothing but a byte order mark"):
        read_toml(tmp_path / "a.toml")
    (tmp_path / "a.toml").write_bytes(b"")
    assert read_toml(tmp_path / "a.toml") == {}


def test_single_quotes_keep_backslashes(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(r"b = 'C:\temp\new'")
    assert read_toml(tmp_path / "a.toml") == {"b": r"C:\temp\new"}


@pytest.mark.parametrize(("text", "has"), [("C:\temp", True), ("a\bc", True), ("Jürgen 1/2", False), ("", False)])
def test_backslashes_that_make_special_characters(text: str, has: bool) -> None:
    assert has_control(text) is has
