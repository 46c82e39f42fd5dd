"""Writes docs/cli.md: every command of ``bleep`` and ``bleep-train``, with its arguments and options.

    python tools/pages/cli_page.py > docs/cli.md        (make cli)

Nothing but the apps is read: what ``--help`` says is what stands here.
"""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Any

import typer.main

HEAD = """# Commands

What `--help` says, on one page. Written by `make cli`. What an exit code means: [api.md](api.md#errors).
An option with an *environment variable* takes its value from there when it is not given.
"""
EVERYWHERE = {"--help", "--install-completion", "--show-completion"}


def cell(text: str) -> str:
    """``text`` for a cell of a table: one line, its bars and angle brackets no markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def default_of(parameter: Any) -> str:
    """What stands under "default": a value, "required", or nothing where the help tells of it or there is none."""
    value = parameter.default
    if parameter.required:
        return "required"
    if value is None or value is False or value == () or callable(value) or not parameter.show_default:
        return ""
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, Path):
        value = value.as_posix()
    return f"`{' '.join(map(str, value)) if isinstance(value, list | tuple) else value}`"


def row(parameter: Any) -> str:
    """One line of a command's table."""
    is_option = parameter.opts[0].startswith("-")
    names = [*parameter.opts, *parameter.secondary_opts] if is_option else [parameter.metavar or parameter.name]
    says = parameter.help or ""
    says += f" Environment variable: `{parameter.envvar}`." if parameter.envvar else ""
    return f"| {', '.join(f'`{name}`' for name in names)} | {cell(says)} | {cell(default_of(parameter))} |"


def table(command: Any) -> list[str]:
    """The lines of one command's arguments and options, in the order of its help."""
    shown = [p for p in command.params if not getattr(p, "hidden", False) and not EVERYWHERE & set(p.opts)]
    if not shown:
        return []
    return ["| argument or option | what | default |", "| --- | --- | --- |", *map(row, shown), ""]


def part(name: str, command: Any, level: int) -> list[str]:
    """A heading, the help's own words and the table of a command, then those of its commands."""
    told = [" ".join(words.split()) + "\n" for words in (command.help or "").split("\n\n")]
    lines = [f"{'#' * level} {name}", "", *told, *table(command)]
    for inner, sub in getattr(command, "commands", {}).items():
        lines += [] if sub.hidden else part(f"{name} {inner}", sub, level + 1)
    return lines


def page() -> str:
    """The whole page. Imports both apps, and nothing heavy: their commands import inside themselves."""
    from bleep_cli.cli import app
    from bleep_train.__main__ import app as training

    lines = [HEAD]
    for name, one in (("bleep", app), ("bleep-train", training)):
        lines += part(name, typer.main.get_command(one), 2)
    return "\n".join(lines).rstrip("\n") + "\n"


if __name__ == "__main__":
    print(page(), end="")
