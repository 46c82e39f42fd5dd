"""The ``bleep`` command: which commands there are. Heavy imports stand inside them."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from bleep_cli.commands import build_reference, check, predict, reference
from bleep_cli.commands import options as opt
from bleep_cli.commands.program import Json, Quiet, Verbose, add_command, console_of, new_app, print_version, run
from bleep_cli.commands.results import cohort, convert, explain, plot, report, view

app = new_app("bleep", "Spatial gene expression from an H&E slide, offline. Research use only.")


@app.callback()
def _options(
    ctx: typer.Context,
    json_: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    strict: opt.Strict = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    console_of(ctx, "bleep").heed(as_json=json_, quiet=quiet, verbose=verbose, strict=strict)


add_command(app, predict.predict)
add_command(app, build_reference.build_reference, "build-reference")
app.add_typer(reference.app)
add_command(app, check.inspect)
add_command(app, check.qc)
add_command(app, check.doctor)
add_command(app, check.demo)
add_command(app, explain.explain)
add_command(app, report.report)
add_command(app, view.view)
add_command(app, plot.plot)
add_command(app, convert.convert)
add_command(app, cohort.cohort)


def main() -> NoReturn:
    """Entry point of the console script."""
    run(app, "bleep", interrupted="nothing half-written was left", missing="install bleep-cli again")


if __name__ == "__main__":
    main()
