"""Errors of training know the parameters that they speak of, too; only the commands print."""

from __future__ import annotations

import ast

import pytest
from error_words import named_options, options_of, sources, spelled_options

from bleep_cli.commands.console import option_words
from bleep_train.__main__ import app


@pytest.mark.slow
def test_every_parameter_that_an_error_names_is_an_option() -> None:
    names = named_options("train/bleep_train")
    assert {"hold_out", "methods", "seeds", "resume", "no_ridge"} <= names
    assert {option_words(name, "call") for name in names} <= options_of(app)


def test_no_message_below_the_commands_spells_an_option() -> None:
    assert not spelled_options("train/bleep_train")


def test_only_the_commands_print() -> None:
    for file, tree in sources("train/bleep_train", commands=False).items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        assert not [f for f in calls if isinstance(f, ast.Name) and f.id == "print"], f"{file.name} prints"
