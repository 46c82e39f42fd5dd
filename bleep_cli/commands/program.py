"""What the command lines ``bleep`` and ``bleep-train`` have in common: set-up, and how every run ends."""

from __future__ import annotations

import signal
import sys
from typing import Any, NoReturn

import typer

from bleep_cli.base import privacy
from bleep_cli.base.version import __version__
from bleep_cli.commands.console import Console
from bleep_cli.errors import BleepError, SlideError

INTERRUPTED = 130
BUG = 1


def new_app(name: str, about: str) -> typer.Typer:
    """An application of ours: plain help, no traceback for a user."""
    return typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def print_version(ctx: typer.Context, wanted: bool) -> None:
    """The callback of ``--version``."""
    if wanted:
        print(f"{ctx.command.name or ctx.info_name} {__version__}")
        raise typer.Exit


def run(app: typer.Typer, name: str, *, interrupted: str) -> NoReturn:
    """Runs the command of this process and turns every error into its line and exit code.

    ``interrupted`` is what to say after Ctrl-C or a SIGTERM.
    """
    privacy.leave_nothing()
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _terminated)
    console = Console(program=name)
    try:
        app(standalone_mode=True)
    except BleepError as error:
        console.error(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.problem(f"interrupted; {interrupted}")
        sys.exit(INTERRUPTED)
    except MemoryError:
        console.problem("out of memory; see --dry-run for what a slide needs")
        sys.exit(SlideError.exit_code)
    except BrokenPipeError:
        sys.exit(BUG)
    except Exception as error:
        if any(flag in sys.argv[1:] for flag in ("-v", "--verbose")):
            raise
        console.problem(f"this is a bug ({type(error).__name__}: {error}); {name} -v shows where")
        sys.exit(BUG)
    sys.exit(0)


def _terminated(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt
