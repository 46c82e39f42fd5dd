"""Errors know the parameters that they speak of; the command line words them."""

from __future__ import annotations

import ast

import pytest
from error_words import named_options, options_of, sources, spelled_options

from bleep_cli.cli import app
from bleep_cli.cohort.cohort_file import KEYS
from bleep_cli.commands.console import option_words
from bleep_cli.errors import BleepError, ReferenceError, SlideError, option


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
    names = named_options("bleep_cli")
    assert {"mpp", "mask", "resume", "dry_run", "scheduler", "stride_um"} <= names
    assert {option_words(name, "call") for name in names - set(KEYS)} <= options_of(app)


def test_no_message_below_the_commands_spells_an_option() -> None:
    assert not spelled_options("bleep_cli")


def test_only_the_commands_print() -> None:
    for file, tree in sources("bleep_cli", commands=False).items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], f"{file.name} prints"
