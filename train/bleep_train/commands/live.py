"""What a person sees of a training run: a live table on a terminal, and TensorBoard where it is asked for."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bleep_cli.errors import UsageError
from bleep_cli.types import Progress, no_progress
from bleep_train.training.monitor import Watch

if TYPE_CHECKING:
    from rich.table import Table

ROWS = 12  # epochs in view
TENSORBOARD = "tensorboard"
COLUMNS = {  # a metric's key: its heading and how it is written
    "epoch": ("epoch", "{:.0f}"),
    "loss": ("loss", "{:.3f}"),
    "cosine": ("cosine", "{:.3f}"),
    "ln_batch": ("ln batch", "{:.3f}"),
    "temperature": ("temperature", "{:.4f}"),
    "lr": ("lr", "{:.1e}"),
    "effective_rank": ("eff. rank", "{:.1f}"),
    "mean_cosine": ("mean cosine", "{:.3f}"),
    "validation_r": ("validation r", "{:.3f}"),
}


def ignore(_record: Mapping[str, float]) -> None:
    """The watch of a caller that does not want to know."""


@contextmanager
def live_training(*, quiet: bool = False) -> Iterator[tuple[Progress, Watch]]:
    """A progress callback and a watch that draw a table of the last epochs over progress bars, on stderr.

    Off a terminal, when ``quiet``, and on all ranks but the first they draw nothing. Colours follow ``NO_COLOR``.
    """
    if quiet or os.environ.get("RANK", "0") != "0" or not sys.stderr.isatty():
        yield no_progress, ignore
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    description = TextColumn("{task.description}")
    bars = Bars(description, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    records: deque[Mapping[str, float]] = deque(maxlen=ROWS)

    def draw() -> Group:
        return Group(epoch_table(records), bars) if records else Group(bars)

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(f"train · {stage}", total=total)
        bars.update(tasks[stage], completed=done, total=total)

    def watch(record: Mapping[str, float]) -> None:
        records.append(record)
        live.update(draw())

    with Live(draw(), console=Console(stderr=True), refresh_per_second=4) as live:
        yield progress, watch


def epoch_table(records: Iterable[Mapping[str, float]]) -> Table:
    """The given epochs, a row each; a metric that an epoch does not have is left blank."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for record in records:
        row = [form.format(record[key]) if key in record else "" for key, (_, form) in COLUMNS.items()]
        table.add_row(*row)
    return table


@contextmanager
def tensorboard(run: Path, *, wanted: bool) -> Iterator[Watch]:
    """A watch that writes every metric of every epoch to ``run/tensorboard``, where ``wanted``.

    A resumed run's events replace those of the epochs it does again. Raises ``UsageError`` where the package is
    not installed, before anything is written.
    """
    if not wanted:
        yield ignore
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs the package tensorboard, which is not installed: "
            "pip install '.[tensorboard]'; metrics.jsonl holds the same numbers"
        ) from error
    writers: list[Any] = []

    def watch(record: Mapping[str, float]) -> None:
        epoch = int(record["epoch"])
        if not writers:  # only now is it known where the run begins
            writers.append(SummaryWriter(str(run / TENSORBOARD), purge_step=epoch))
        for key, value in record.items():
            if key != "epoch":
                writers[0].add_scalar(f"train/{key}", value, epoch)
        writers[0].flush()

    try:
        yield watch
    finally:
        for writer in writers:
            writer.close()
