"""Errors know the parameters that they speak of; the command line words them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

from bleep_cli.cli import app
from bleep_cli.commands.console import option_words
from bleep_cli.errors import BleepError, ReferenceError, SlideError, option

PACKAGE = Path(__file__).parents[2] / "bleep_cli"
FURTHER = {"resume", "dry_run", "scheduler"}  # of bleep predict; listed so that the test says what it relies on


def options_of(app: typer.Typer) -> set[str]:
    """Every option of every command, as the command line spells it."""
    group = typer.main.get_command(app)
    commands = [group, *group.commands.values()]  # type: ignore[attr-defined]
    return {spelling for command in commands for parameter in command.params for spelling in parameter.opts}


def named_options(folder: Path) -> set[str]:
    """The names that ``option("...")`` is called with in a package."""
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "option"
            if is_call and node.args and isinstance(node.args[0], ast.Constant):
                names.add(str(node.args[0].value))
    return names


def test_a_parameter_is_named_as_the_reader_knows_it() -> None:
    error = SlideError(f"a.tif: no tile has 50% tissue; lower {option('min_tissue')}, or give {option('mask')}")
    assert str(error) == "a.tif: no tile has 50% tissue; lower min_tissue, or give mask"
    assert error.options == ("min_tissue", "mask")
    assert error.option == "min_tissue"
    assert error.worded(option_words) == "a.tif: no tile has 50% tissue; lower --min-tissue, or give --mask"


@pytest.mark.parametrize(
    ("name", "origin", "words"),
    [
        ("k", "call", "-k"),
        ("out", "call", "-o"),
        ("stride_um", "call", "--stride-um"),
        ("mpp", "cohort file", "mpp ="),
    ],
)
def test_options_and_keys(name: str, origin: str, words: str) -> None:
    assert BleepError(option(name), origin=origin).worded(option_words) == words  # type: ignore[arg-type]


def test_an_error_on_its_way_up_keeps_its_parameters() -> None:
    below = SlideError(f"a.tif: the file states no microns per pixel; give it with {option('mpp')} 0.5")
    above = ReferenceError(f"section S0: {below.text}", origin="cohort file")
    assert above.options == ("mpp",)
    assert above.worded(option_words).endswith("give it with mpp = 0.5")


def test_an_error_without_parameters() -> None:
    error = BleepError("{braces} and % signs stay")
    assert error.option is None
    assert error.options == ()
    assert error.worded(option_words) == str(error) == "{braces} and % signs stay"


def test_every_parameter_that_an_error_names_is_an_option() -> None:
    names, known = named_options(PACKAGE), options_of(app)
    assert len(names) > 15
    assert names >= FURTHER
    assert {option_words(name, "call") for name in names} <= known


def sources() -> dict[Path, ast.Module]:
    """The files below the commands."""
    files = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "commands"]
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}


def texts_of(node: ast.AST) -> list[str]:
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [part for part in parts if isinstance(part, str)]


def test_no_message_below_the_commands_spells_an_option() -> None:
    """Neither ``--option`` nor an edit of a message on its way up."""
    for file, tree in sources().items():
        raised = [text for node in ast.walk(tree) if isinstance(node, ast.Raise) for text in texts_of(node)]
        spelled = [text for text in raised if re.search(r"(^|\s)--[a-z]", text) and "dask worker" not in text]
        assert not spelled, f"{file.name}: {spelled}"


def test_only_the_commands_print() -> None:
    for file, tree in sources().items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], f"{file.name} prints"
