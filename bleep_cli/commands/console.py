"""What a person sees: messages and progress on stderr, data on stdout."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bleep_cli.types import Progress  # NumPy with it, which --help can do without


class Console:
    """Renders for one run; ``quiet`` silences messages, ``as_json`` turns data into one JSON document."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False, as_json: bool = False) -> None:
        self.quiet, self.verbose, self.as_json = quiet, verbose, as_json

    def say(self, message: str) -> None:
        """A message for the person: stderr, unless quiet."""
        if not self.quiet:
            print(message, file=sys.stderr)

    def error(self, message: str) -> None:
        """An error: one line on stderr, quiet or not."""
        print(f"bleep: {message}", file=sys.stderr)

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
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=RichConsole(stderr=True), transient=True) as bars:
            tasks: dict[str, tuple[Any, float]] = {}

            def report(stage: str, done: int, total: int) -> None:
                if stage not in tasks:
                    tasks[stage] = (
                        bars.add_task(f"{what} · {stage}", total=total, rate=""),
                        time.perf_counter(),
                    )
                task, start = tasks[stage]
                elapsed = time.perf_counter() - start
                rate = f"{done / elapsed:.0f} {stage}/s" if elapsed > 0.5 and done else ""
                bars.update(task, completed=done, total=total, rate=rate)

            yield report
