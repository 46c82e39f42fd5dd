"""The ``bleep-train`` command: phantom | train | export | evaluate | ablate | figures."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, NoReturn

import typer

from bleep_cli import __version__
from bleep_cli.base import privacy
from bleep_cli.commands.console import Console
from bleep_cli.errors import BleepError
from bleep_train.commands import figures as commands_figures
from bleep_train.commands import make as commands_make
from bleep_train.commands import measure as commands_measure

app = typer.Typer(
    name="bleep-train",
    help="Learn BLEEP encoders, export them to ONNX, pack references, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bleep-train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, verbose=verbose)


app.command()(commands_make.phantom)
app.command()(commands_make.train)
app.command()(commands_make.distill)
app.command()(commands_make.export)
app.command()(commands_measure.evaluate)
app.command()(commands_measure.ablate)
app.command()(commands_figures.figures)
app.command(name="demo-artifacts", hidden=True)(commands_make.demo_artifacts)


def main() -> NoReturn:
    """Entry point of the console script."""
    privacy.leave_nothing()
    verbose = any(flag in sys.argv[1:] for flag in ("-v", "--verbose"))
    if not verbose:
        warnings.filterwarnings("ignore")  # third-party deprecations are not the user's business
    try:
        app()
    except BleepError as error:
        print(f"bleep-train: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("bleep-train: interrupted; go on with --resume", file=sys.stderr)
        sys.exit(130)
    except (ValueError, RuntimeError) as error:
        if verbose:
            raise
        print(f"bleep-train: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
