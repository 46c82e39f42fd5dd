"""What the command lines ``bleep`` and ``bleep-train`` have in common: set-up, the options of every command, and
how every run ends."""

from __future__ import annotations

import atexit
import codecs
import gc
import inspect
import io
import os
import sys
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NoReturn

import typer

from bleep_cli.base import privacy
from bleep_cli.base.files.atomic import FULL
from bleep_cli.base.reasons import came_of, lacks_memory, reason
from bleep_cli.commands.console import Console
from bleep_cli.commands.interrupt import INTERRUPTED, Interrupted, Interrupts
from bleep_cli.errors import BleepError, DeviceError, OutputError

BUG = 1
GARBAGE_OBJECTS = 50_000  # made and not freed, after which garbage is sought; Python's own is 700
NO_ROOM = (
    "a disk is full, that of temporary files or the one that is printed to; free some space, or name a folder for "
    "temporary files in the environment (TMPDIR)"
)
OWN = ("bleep_cli", "bleep_train")

Json = Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print errors and warnings only.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")]
COMMON = {"json_": Json, "quiet": Quiet, "verbose": Verbose}
"""Options that stand before the command or behind it, wherever they are found first."""


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


def add_command(
    app: typer.Typer, function: Callable[..., None], name: str | None = None, *, hidden: bool = False
) -> None:
    """Makes a command of a function that takes a context; the common options are added behind its own."""

    @wraps(function)
    def command(*args: Any, ctx: typer.Context, json_: bool, quiet: bool, verbose: bool, **kwargs: Any) -> None:
        ctx.obj.heed(as_json=json_, quiet=quiet, verbose=verbose)
        function(*args, ctx=ctx, **kwargs)

    signature = inspect.signature(function, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in COMMON.items()
    ]
    parameters = [*signature.parameters.values(), *added]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name=name, hidden=hidden)(command)


def console_of(ctx: typer.Context, program: str) -> Console:
    """The console of this run: the one that :func:`run` made, or a new one for a call from Python."""
    console: Console = ctx.obj or Console(program=program)
    ctx.obj = console
    return console


def print_version(ctx: typer.Context, wanted: bool) -> None:
    """The callback of ``--version``."""
    if wanted:
        from bleep_cli.base.version import __version__  # a tenth of the time that --help takes

        print(f"{ctx.command.name or ctx.info_name} {__version__}")
        raise typer.Exit


def run(app: typer.Typer, name: str, *, interrupted: str, missing: str) -> NoReturn:
    """Runs the command of this process and turns every error into its line and exit code.

    ``interrupted`` is what to say after Ctrl-C and the like, ``missing`` how to mend a package that is not there.
    """
    _in_utf8()
    _collect_seldom()
    for stream in (sys.stdout, sys.stderr):
        _take_any_name(stream)
    privacy.leave_nothing()
    console = Console(program=name)
    interrupts = Interrupts(lambda: console.problem(f"interrupted; {interrupted}"))
    try:
        app(standalone_mode=True, obj=console)
    except BleepError as error:
        _fail(console, error)
    except Interrupted:
        interrupts.told()
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.exit(BUG)
    except Exception as error:
        if any(map(lacks_memory, came_of(error))):
            _fail(console, BleepError("out of memory; close other programs, or take a machine with more"))
        package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        if package and package not in OWN:
            _fail(console, DeviceError(f"the package {package} is not installed; {missing}"))
        if isinstance(error, OSError) and error.errno in FULL:
            _fail(console, OutputError(NO_ROOM))
        if console.verbose:
            raise
        _fail(console, BleepError(f"this is a bug ({reason(error)}); {name} -v shows where"))
    sys.exit(0)


def _fail(console: Console, error: BleepError) -> NoReturn:
    console.failed(error)
    sys.exit(error.exit_code)


def _in_utf8() -> None:
    """Starts this process again in Python's UTF-8 mode where the locale makes file names something else.

    Names of slides go into results, and where they name files inside a Zarr store they have to be text: in the C
    locale with that mode switched off, a name with an umlaut could not be written. A terminal that reads another
    encoding than UTF-8 goes on getting it; ASCII, which the C locale says, says nothing of the terminal.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode or not sys.executable:
        return
    if codecs.lookup(sys.stdout.encoding).name != "ascii":
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def _collect_seldom() -> None:
    """Has garbage sought less often, and not once more at the end: packages make a quarter of a million objects as
    they load, which stay. A fifth to a third of a second of every command."""
    gc.set_threshold(GARBAGE_OBJECTS)
    atexit.register(gc.freeze)


def _take_any_name(stream: Any) -> None:
    """Lets a stream print whatever a file may be called: bytes of names as they are where it is UTF-8, elsewhere
    what its encoding does not have is escaped."""
    if isinstance(stream, io.TextIOWrapper):
        utf8 = codecs.lookup(stream.encoding).name == "utf-8" and sys.platform != "win32"
        stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")
