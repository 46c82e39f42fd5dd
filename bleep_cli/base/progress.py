"""Progress for a person: live bars on a terminal, a line in a notebook, silence in a script."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import TaskID

    from bleep_cli.types import Progress  # NumPy with it, which --help can do without

CELL_S = 0.25  # between updates of a notebook's cell


@contextmanager
def live_bars(what: str) -> Iterator[Progress]:
    """A progress callback that draws a bar for every stage, with its rate, on stderr."""
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
        waiting = [bars.add_task(f"{what} · reading", total=None, rate="")]  # until the first stage reports

        def report(stage: str, done: int, total: int) -> None:
            while waiting:
                bars.remove_task(waiting.pop())
            if stage not in tasks:
                task = bars.add_task(f"{what} · {stage}", total=total, rate="")
                tasks[stage] = (task, time.perf_counter())
            task, start = tasks[stage]
            bars.update(task, completed=done, total=total, rate=rate_of(stage, done, start))

        yield report


def rate_of(stage: str, done: int, start: float) -> str:
    """How many of a stage are done per second since ``start``; empty while that would be a guess."""
    elapsed = time.perf_counter() - start
    return f"{done / elapsed:.0f} {stage}/s" if elapsed > 0.5 and done else ""


@contextmanager
def notebook_line(what: str, show: Callable[[str], None]) -> Iterator[Progress]:
    """A progress callback that keeps one line of a notebook's cell up to date through ``show``, a few times a
    second and at the end of each stage. Rich's own bars need ipywidgets there, which need not be installed."""
    starts: dict[str, float] = {}
    shown = 0.0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal shown
        now = time.perf_counter()
        start = starts.setdefault(stage, now)
        if now - shown >= CELL_S or done == total:
            shown = now
            show(" ".join(f"{what} · {stage} {done}/{total} {rate_of(stage, done, start)}".split()))

    yield report


def interactive() -> bool:
    """Whether a person sits at a prompt: Python's own, IPython's or a notebook's."""
    return hasattr(sys, "ps1")


def notebook_cell() -> Callable[[str], None] | None:
    """What keeps one text up to date in the running cell of a notebook; None elsewhere."""
    ipython, displays = sys.modules.get("IPython"), sys.modules.get("IPython.display")  # a kernel has loaded both
    if ipython is None or displays is None or not hasattr(ipython.get_ipython(), "kernel"):
        return None
    handle = displays.display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)


@contextmanager
def reporting(progress: Progress | bool | None, what: str) -> Iterator[Progress]:
    """The callback that a caller's ``progress`` means.

    A callable is taken as it is; True shows progress, False nothing; None shows it at a prompt and in a notebook,
    and not in a script.
    """
    if callable(progress):
        yield progress
    elif progress or (progress is None and interactive()):
        cell = notebook_cell()
        with live_bars(what) if cell is None else notebook_line(what, cell) as report:
            yield report
    else:
        yield lambda _stage, _done, _total: None
