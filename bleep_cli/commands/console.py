"""What a person sees: messages and progress on stderr, data on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bleep_cli.base.progress import live_bars
from bleep_cli.errors import BleepError, Origin

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
    """Renders for one run; ``quiet`` silences messages, ``as_json`` turns data into one JSON document."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False, program: str = "bleep") -> None:
        self.quiet, self.as_json, self.program = quiet, as_json, program

    def say(self, message: str) -> None:
        """A message for the person: stderr, unless quiet."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def finding(self, finding: Finding) -> None:
        """Something that was noticed: one line on stderr; quiet keeps the warnings."""
        if finding.severity == "warning" or not self.quiet:
            told = finding.worded(option_words)
            print(f"{self.program}: {finding.severity}: {told}", file=sys.stderr)

    def error(self, error: BleepError) -> None:
        """An error: one line on stderr, quiet or not."""
        self.problem(self.worded(error))

    def problem(self, message: str) -> None:
        """What went wrong, in words: one line on stderr, quiet or not."""
        print(f"{self.program}: {message}", file=sys.stderr)

    def worded(self, error: BleepError) -> str:
        """An error's message with its parameters as options, or as keys of the cohort file."""
        return error.worded(option_words)

    def data(self, record: Mapping[str, Any], lines: list[str]) -> None:
        """The result: the record as JSON where asked for, the lines otherwise; stdout."""
        if self.as_json:
            print(json.dumps(record, indent=1, default=str))
        else:
            print("\n".join(lines))

    @contextmanager
    def progress(self, what: str) -> Iterator[Progress]:
        """A progress callback: a live bar with the rate on a terminal, nothing elsewhere."""
        if self.quiet or not sys.stderr.isatty():
            yield lambda _stage, _done, _total: None
            return
        with live_bars(what) as report:
            yield report
