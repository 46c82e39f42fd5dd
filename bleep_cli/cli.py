"""The ``bleep`` command: which commands there are. Heavy imports stand inside them."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from bleep_cli.commands import build_reference, check, explain, predict
from bleep_cli.commands.console import Console
from bleep_cli.commands.program import new_app, print_version, run

app = new_app("bleep", "Spatial gene expression from an H&E slide, offline. Research use only.")


@app.callback()
def _options(
    ctx: typer.Context,
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, as_json=json_)


app.command()(predict.predict)
app.command(name="build-reference")(build_reference.build_reference)
app.command()(check.inspect)
app.command()(check.doctor)
app.command()(check.demo)
app.command()(explain.explain)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(app, "bleep", interrupted="nothing half-written was left")


if __name__ == "__main__":
    main()
