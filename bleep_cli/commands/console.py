"""What a person sees: messages and progress on stderr, data on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bleep_cli.base.hidden import Hidden
from bleep_cli.base.progress import live_bars
from bleep_cli.base.text import printable
from bleep_cli.errors import LINE_BREAK, BleepError, Origin

if TYPE_CHECKING:
    from bleep_cli.findings import Finding
    from bleep_cli.types import Progress  # NumPy with it, which --help can do without

SHORT = {"k": "-k", "out": "-o"}


def option_words(parameter: str, origin: Origin) -> str:
    """A parameter as a person at the command line knows it: an option, or a key of the cohort file."""
    if origin == "cohort file":
        return f"{parameter} ="
    return SHORT.get(parameter, f"--{parameter.replace('_', '-')}")


class Console:
    """Renders for one run: errors and warnings always, the rest unless it is to be quiet; JSON where asked for."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False, program: str = "bleep") -> None:
        self.program = program
        self.quiet = quiet
        """Prints errors and warnings only, and JSON where that is asked for."""
        self.as_json = as_json
        """Prints results as JSON in place of lines."""
        self.verbose = False
        """Shows the traceback of a bug."""
        self.strict = False
        """Refuses what there is a warning about."""
        self.hidden = Hidden({})
        """Names that are not told."""
        self._told = False  # a record

    def heed(
        self, *, as_json: bool = False, quiet: bool = False, verbose: bool = False, strict: bool = False
    ) -> None:
        """Switches on what is asked for; what is on stays on, since options stand before and behind a command."""
        self.as_json |= as_json
        self.quiet |= quiet
        self.verbose |= verbose
        self.strict |= strict

    def hide(self, names: Mapping[str, str]) -> None:
        """Has names not told, by what stands in the place of each."""
        self.hidden = Hidden(names)

    def hide_files(self, *files: tuple[str, Path | None], names: Mapping[str, str] | None = None) -> None:
        """Has names of files not told, (what it is called, file) each, nor further ``names``."""
        from bleep_cli.api import names_of

        found = {name: what for what, file in files if file is not None for name in names_of(file)}
        self.hide(found | dict(names or {}))

    def say(self, message: str) -> None:
        """A message for the person: one line on stderr, unless quiet."""
        if not self.quiet:
            self.problem(message)

    def begin(self, message: str) -> None:
        """The first sign of life of something that may take a while to begin: on a terminal only."""
        if sys.stderr.isatty():
            self.say(message)

    def finding(self, finding: Finding) -> None:
        """Something that was noticed: one line on stderr; quiet keeps the warnings."""
        if finding.severity == "warning" or not self.quiet:
            self.problem(f"{finding.severity}: {finding.worded(option_words)}")

    def error(self, error: BleepError) -> None:
        """An error: one line on stderr, quiet or not."""
        self.problem(self.worded(error))

    def failed(self, error: BleepError) -> None:
        """The error that ends the run; as a record, too, where JSON is asked for and nothing was printed yet."""
        if self.as_json and not self._told:
            self.each({"error": self.worded(error).replace(LINE_BREAK, "\n"), "exit_code": error.exit_code}, None)
        self.error(error)

    def problem(self, message: str) -> None:
        """Something in words on stderr, quiet or not; further lines of our own (``LINE_BREAK``) are indented."""
        lines = map(printable, self.hidden.text(message).split(LINE_BREAK))
        print(
            f"{self.program}: " + ("\n" + " " * (len(self.program) + 2)).join(lines), file=sys.stderr, flush=True
        )

    def worded(self, error: BleepError) -> str:
        """An error's message with its parameters as options, or as keys of the cohort file."""
        return error.worded(option_words)

    def data(self, record: Mapping[str, Any], lines: list[str]) -> None:
        """The result: the record as JSON where asked for, else the lines, unless quiet; stdout."""
        if self.as_json:
            self._told = True
            print(json.dumps(self.hidden.value(record), indent=1, default=str), flush=True)
        else:
            self.lines(lines)

    def lines(self, lines: list[str]) -> None:
        """A part of the result that is known before its record is: its lines, unless quiet or JSON is asked for;
        stdout."""
        if lines and not (self.quiet or self.as_json):
            print("\n".join(map(printable, map(self.hidden.text, lines))), flush=True)

    def each(self, record: Mapping[str, Any], line: str | None) -> None:
        """One of several results, at once: a line of JSON where asked for, else the line, unless quiet; stdout."""
        if self.as_json:
            self._told = True
            print(json.dumps(self.hidden.value(record), default=str), flush=True)
        elif line is not None and not self.quiet:
            print(printable(self.hidden.text(line)), flush=True)

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """A progress callback: a live bar with the rate on a terminal, nothing elsewhere."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _stage, _done, _total: None
            return
        with live_bars(self.hidden.text(what)) as report:
            yield report
