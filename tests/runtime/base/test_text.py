"""Counted nouns, sizes, durations, and file names as text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bleep_cli.base.text import counted, duration, file_text, is_file, is_there, megabytes, path_of, printable


def test_nouns_agree_with_their_number() -> None:
    assert [counted(n, "view") for n in (0, 1, 8)] == ["0 views", "1 view", "8 views"]
    assert [counted(n, "gene is", "genes are") for n in (1, 2)] == ["1 gene is", "2 genes are"]


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 MB"),
        (31_392, "under 0.1 MB"),
        (104_858, "0.1 MB"),
        (5 << 20, "5.0 MB"),
        (10 << 20, "10 MB"),
        (2_500 << 20, "2500 MB"),
    ],
)
def test_a_size_is_never_nothing(n_bytes: int, text: str) -> None:
    assert megabytes(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.skipif(sys.platform == "win32", reason="file names are bytes elsewhere")
def test_names_of_files_are_text_whatever_their_bytes() -> None:
    assert file_text(Path("a/Müller µ.svs")) == "a/Müller µ.svs"
    assert file_text(os.fsdecode(b"M\xfcller.svs")) == "M\\xfcller.svs"
    assert path_of("Müller.svs") == Path("Müller.svs")


@pytest.mark.skipif(sys.platform == "win32", reason="file names are Unicode there")
def test_names_survive_where_only_ascii_is_known() -> None:
    code = "import sys; from pathlib import Path; from bleep_cli.base.text import file_text, path_of; "
    code += "text = file_text(sys.argv[1]); print(ascii(text), path_of(text) == Path(sys.argv[1]))"
    told = subprocess.run(
        [sys.executable, "-c", code, "Müller.svs"],
        env=os.environ | {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "'M\\xfcller.svs' True\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Glul µm 肝", "Glul µm 肝"),
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\nbleep: all is well", r"a\nbleep: all is well"),
        ("\u202egnp.exe\x9b31m\u2028\x00", r"\u202egnp.exe\x9b31m\u2028\x00"),
    ],
)
def test_a_line_shows_what_would_move_the_cursor_or_break_it(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_what_no_file_can_be_called_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    named = [str(tmp_path / "a"), str(tmp_path), str(tmp_path / "b"), "a" * 300, "a\0b"]
    assert [is_file(text) for text in named] == [True, False, False, False, False]
    assert [is_there(Path(text)) for text in named] == [True, True, False, False, False]
