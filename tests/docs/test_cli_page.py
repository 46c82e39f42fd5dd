"""docs/cli.md is what the apps say of themselves, and tools/pages/cli_page.py reads them rightly."""

from __future__ import annotations

import enum
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer
from project_text import ROOT, text_of


class Kind(enum.StrEnum):
    ONE = "one"
    TWO = "two"


@pytest.fixture
def cli_page(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "pages"))
    return __import__("cli_page")


def test_the_page_is_current(cli_page: ModuleType) -> None:
    assert text_of("docs/cli.md") == cli_page.page()  # else: make cli


def test_every_command_has_its_heading() -> None:
    page = text_of("docs/cli.md").splitlines()
    for command in ("bleep predict", "bleep build-reference", "bleep doctor", "bleep-train train"):
        assert f"### {command}" in page


def test_a_row_tells_name_words_variable_and_default(cli_page: ModuleType) -> None:
    def made(
        there: Annotated[Path, typer.Argument(help="Where a|b is.")],
        kind: Annotated[Kind, typer.Option("--kind", "-k", help="Of <what>.", envvar="KIND")] = Kind.TWO,
        edge: Annotated[tuple[int, int], typer.Option(help="Two.")] = (3, 4),
        secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
    ) -> None:
        """First words.

        More
        of them.
        """

    app = typer.Typer()
    app.command()(made)
    lines = cli_page.part("made", typer.main.get_command(app), 2)
    assert lines[:2] == ["## made", ""]
    assert [line.strip() for line in lines[2:4]] == ["First words.", "More of them."]
    assert lines[6:9] == [
        "| `there` | Where a\\|b is. | required |",
        "| `--kind`, `-k` | Of &lt;what>. Environment variable: `KIND`. | `two` |",
        "| `--edge` | Two. | `3 4` |",
    ]
    assert not [line for line in lines if "secret" in line or "--help" in line]
