"""Progress for a person: live bars on a terminal or in a notebook, silence in a script."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from bleep_cli.types import Progress  # NumPy with it, which --help can do without


@contextmanager
def live_bars(what: str) -> Iterator[Progress]:
    """A progress callback that draws a bar for every stage, with its rate; on stderr, or in the notebook's
    cell."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, tuple[TaskID, float]] = {}

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


def interactive() -> bool:
    """Whether a person sits at a prompt: Python's own, IPython's or a notebook's."""
    return hasattr(sys, "ps1")


@contextmanager
def reporting(progress: Progress | bool | None, what: str) -> Iterator[Progress]:
    """The callback that a caller's ``progress`` means.

    A callable is taken as it is; True draws bars, False nothing; None draws bars at a prompt and in a notebook,
    and nothing in a script.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and interactive()):
        with live_bars(what) as report:
            yield report
    else:
        yield lambda _stage, _done, _total: None
