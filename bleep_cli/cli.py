"""The ``bleep`` command: parse, call, render, exit code. Heavy imports stand inside the commands."""

from __future__ import annotations

import signal
import sys
from typing import Annotated, Any, NoReturn

import typer

from bleep_cli import __version__
from bleep_cli.base import privacy
from bleep_cli.commands import build_reference, check, predict
from bleep_cli.commands.console import Console
from bleep_cli.errors import BleepError, SlideError

INTERRUPTED = 130
BUG = 1

app = typer.Typer(
    name="bleep",
    help="Spatial gene expression from an H&E slide, offline. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bleep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, verbose=verbose, as_json=json_)


app.command()(predict.predict)
app.command(name="build-reference")(build_reference.build_reference)
app.command()(check.inspect)
app.command()(check.doctor)
app.command()(check.demo)


def main() -> NoReturn:
    """Entry point of the console script: runs the command and turns every error into its exit code."""
    privacy.leave_nothing()
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _terminated)
    verbose = any(flag in sys.argv[1:] for flag in ("-v", "--verbose"))
    console = Console()
    try:
        app(standalone_mode=True)
    except BleepError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.error("interrupted; nothing half-written was left")
        sys.exit(INTERRUPTED)
    except MemoryError:
        console.error("out of memory; see --dry-run for what a slide needs")
        sys.exit(SlideError.exit_code)
    except BrokenPipeError:
        sys.exit(BUG)
    except Exception as error:
        if verbose:
            raise
        console.error(f"this is a bug ({type(error).__name__}: {error}); bleep -v shows where")
        sys.exit(BUG)
    sys.exit(0)


def _terminated(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
