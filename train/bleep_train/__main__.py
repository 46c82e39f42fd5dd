"""The ``bleep-train`` command: which commands there are."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, NoReturn

import typer

from bleep_cli.commands.console import Console
from bleep_cli.commands.program import new_app, print_version, run
from bleep_train.commands import figures as commands_figures
from bleep_train.commands import make, measure
from bleep_train.commands import recipe as commands_recipe

app = new_app("bleep-train", "Learn BLEEP encoders, export them to ONNX, pack references, evaluate.")


@app.callback()
def _options(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, program="bleep-train")


app.command()(make.phantom)
app.command()(make.hest)
app.command()(make.train)
app.command()(make.distill)
app.command()(make.export)
app.command()(measure.evaluate)
app.command()(measure.ablate)
app.command()(commands_figures.figures)
app.command()(commands_recipe.recipe)
app.command(name="demo-artifacts", hidden=True)(make.demo_artifacts)


def main() -> NoReturn:
    """Entry point of the console script."""
    if not any(flag in sys.argv[1:] for flag in ("-v", "--verbose")):
        warnings.filterwarnings("ignore")  # third-party deprecations are not the user's business
    run(app, "bleep-train", interrupted="go on with the same command, and --resume where it has one")


if __name__ == "__main__":
    main()
