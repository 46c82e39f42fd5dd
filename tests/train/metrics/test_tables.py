"""Tables read the same in a file and on a terminal."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from bleep_cli.commands.console import Console
from bleep_train.commands.show import show
from bleep_train.metrics.tables import Table, markdown, number, over_seeds, seeds_cell, span, write_tables

TABLE = Table(("method", "HVG50 r"), (("bleep:paper", "0.250"), ("[mean]", "–")), "A title", ("A note.",))
TEXT = "**A title**\n\n| method | HVG50 r |\n|---|---|\n| bleep:paper | 0.250 |\n| [mean] | – |\n\nA note.\n"


def test_markdown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert markdown([TABLE]) == TEXT
    assert markdown([Table(("a",), (("1",),)), TABLE]) == "| a |\n|---|\n| 1 |\n\n" + TEXT
    for _ in range(2):
        write_tables(tmp_path / "t.md", [TABLE])
    assert (tmp_path / "t.md").read_text(encoding="utf-8") == TEXT
    show([TABLE], Console())
    assert capsys.readouterr().out == TEXT


def test_a_terminal_gets_a_drawn_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    show([TABLE], Console())
    printed = capsys.readouterr().out
    for words in ("A title", "bleep:paper", "0.250", "[mean]", "A note."):
        assert words in printed
    assert "|---" not in printed
    assert "━" in printed


def test_numbers() -> None:
    assert (number(0.12345), number(-1, 1), number(math.nan), number(math.inf)) == ("0.123", "-1.0", "–", "–")
    assert (span((0.1, 0.25)), span(None)) == ("[0.100, 0.250]", "–")


def test_over_seeds_by_hand() -> None:
    """Means of the folds 0.2, 0.3 and 0.4; a fold without a value is left out."""
    seeds = {0: [0.1, 0.3], 1: [0.3, math.nan], 2: [0.2, 0.6]}
    assert over_seeds(seeds) == (pytest.approx(0.3), pytest.approx(0.1))
    assert seeds_cell(seeds) == "0.300 ± 0.100"
    assert seeds_cell({0: [0.1, 0.2]}) == "0.150"
    assert seeds_cell({0: [math.nan], 1: [math.nan]}) == "– ± –"
