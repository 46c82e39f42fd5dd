"""The ``bleep-train`` command: which commands there are."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, NoReturn

import typer

from bleep_cli.commands.program import Json, Quiet, Verbose, add_command, console_of, new_app, print_version, run
from bleep_train.commands import figures as commands_figures
from bleep_train.commands import make, measure
from bleep_train.commands import recipe as commands_recipe

app = new_app("bleep-train", "Learn BLEEP encoders, export them to ONNX, pack references, evaluate.")


@app.callback()
def _options(
    ctx: typer.Context,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    strict: Annotated[bool, typer.Option("--strict", help="Of train: stop when the embedding collapses.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    console_of(ctx, "bleep-train").heed(as_json=json_, quiet=quiet, verbose=verbose, strict=strict)


for command in (make.phantom, make.hest, make.train, make.distill, make.export, measure.evaluate, measure.ablate):
    add_command(app, command)
add_command(app, commands_figures.figures)
add_command(app, commands_recipe.recipe)
add_command(app, make.demo_artifacts, "demo-artifacts", hidden=True)


def main() -> NoReturn:
    """Entry point of the console script."""
    if not any(flag in sys.argv[1:] for flag in ("-v", "--verbose")):
        warnings.filterwarnings("ignore")  # third-party deprecations are not the user's business
    run(
        app,
        "bleep-train",
        interrupted="go on with the same command, and --resume where it has one",
        missing='training needs bleep-cli with its extra train, such as pip install ".[cpu,train]"',
    )


if __name__ == "__main__":
    main()
