"""What an error may say: which options commands have, which of them errors name, what messages spell."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import typer

ROOT = Path(__file__).parents[1]


def options_of(app: typer.Typer) -> set[str]:
    """Every option of every command, those in groups of commands among them, as the command line spells it."""
    commands = [typer.main.get_command(app)]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
    return {
        spelling
        for command in commands
        for parameter in command.params
        for spelling in (*parameter.opts, *parameter.secondary_opts)
    }


def named_options(package: str) -> set[str]:
    """The names that ``option("...")`` is called with in a package."""
    return {
        str(node.args[0].value)
        for tree in sources(package).values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "option"
        and isinstance(node.args[0], ast.Constant)
    }


def sources(package: str, *, commands: bool = True) -> dict[Path, ast.Module]:
    """The files of a package, with or without its commands."""
    files = [file for file in (ROOT / package).rglob("*.py") if commands or file.parent.name != "commands"]
    return {file: ast.parse(file.read_text(encoding="utf-8")) for file in files}


def spelled_options(package: str) -> list[str]:
    """Messages below the commands that spell an option, but for those that name a whole command."""
    raised = [
        (file.name, text)
        for file, tree in sources(package, commands=False).items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise)
        for text in _texts_of(node)
    ]
    whole_command = re.compile("dask worker|bleep-train [a-z]+ --")
    return [
        f"{name}: {text}"
        for name, text in raised
        if re.search(r"(^|\s)--[a-z]", text) and not whole_command.search(text)
    ]


def _texts_of(node: ast.AST) -> list[str]:
    parts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
    return [part for part in parts if isinstance(part, str)]
