"""What the commands of ``bleep-train`` share: arguments, and lists read from options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands.options import names
from bleep_cli.errors import UsageError

CohortArgument = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort file (TOML) with the sections.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what exists already.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="section.key=value, such as optim.seed=1; repeatable.")
]


def numbers(text: str) -> list[int]:
    """The whole numbers of a comma-separated list; ``UsageError`` for anything else."""
    try:
        return [int(name) for name in names(text)]
    except ValueError as error:
        raise UsageError(f"{text}: whole numbers separated by commas are needed") from error
