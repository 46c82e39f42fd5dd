"""What is told of a batch: a line for every slide as it ends, how far it is, what remains, and what came out."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bleep_cli.base.text import counted, duration, file_text, megabytes
from bleep_cli.errors import BleepError
from bleep_cli.findings import Finding
from bleep_cli.prediction.options import resolved
from bleep_cli.types import Slide, Tells

if TYPE_CHECKING:
    from bleep_cli.batch.prepare import Batch, Job
    from bleep_cli.prediction.estimate import Estimate
    from bleep_cli.prediction.plan import Plan

WRITTEN, COMPLETE, FAILED, ESTIMATED = "written", "complete already", "failed", "estimated"
Record = dict[str, Any]
"""What ``bleep predict --json`` tells of a slide (docs/api.md)."""


def record_of(
    job: Job,
    batch: Batch,
    status: str,
    findings: Sequence[Finding],
    *,
    slide: Slide,
    size: tuple[int, int],
    gene: str | None,
    strange: float | None = None,
) -> Record:
    """What came out for a slide of ``size`` (tiles, genes); ``gene`` is that of its picture, ``strange`` the share
    of its tiles that look like nothing in the reference, None where that is not known."""
    files = {"gene": gene, "strange_tiles": strange, "files": [file_text(path) for path in job.paths.values()]}
    return _common(batch, status, findings, slide, size) | files


def estimated(job: Job, batch: Batch, ready: Plan, estimate: Estimate) -> Record:
    """What predicting a slide would take."""
    size = (len(ready.grid), estimate.genes)
    common = _common(batch, ESTIMATED, ready.findings, ready.slide, size)
    return common | vars(estimate) | {"scale_check": ready.scale.plain()}


def _common(batch: Batch, status: str, findings: Sequence[Finding], slide: Slide, size: tuple[int, int]) -> Record:
    bundle = batch.bundle
    reference = {"name": bundle.name, "content_sha256": bundle.content_sha256, "species": bundle.info.species}
    return {
        "status": status,
        "tiles": size[0],
        "genes": size[1],
        "mpp": slide.mpp,
        "mpp_source": slide.mpp_source,
        "k": resolved(bundle, batch.options)[0],
        "reference": reference,
        "findings": [finding.plain() for finding in findings],
    }


def command_of(job: Job, batch: Batch) -> str:
    """The command line that makes this slide's results: its own options, the other slides left out; empty for a
    call from Python, and for what is to name no file."""
    if not batch.command or job.anonymous:
        return ""
    own: list[str] = []
    for name, value in vars(job.options).items():
        if value is not None and value != getattr(batch.options, name):
            shown = ",".join(value) if isinstance(value, tuple) else getattr(value, "name", str(value))
            own += [f"--{name.replace('_', '-')}", file_text(shown)]
    return shlex.join(["bleep", "predict", file_text(job.slide.name), *batch.command, *own])


def line_of(record: Mapping[str, Any]) -> str:
    """The same for a person, the slide's name left out."""
    if record["status"] == ESTIMATED:
        passes = f"{counted(record['views'], 'view')} × {counted(record['fields'], 'field')}"
        needs = f"{record['memory_mb']} MB of memory, {megabytes(record['output_bytes'])} of X"
        settings = f"{passes}, {record['device']}, {_settings(record)}"
        return f"{_size(record)} ({settings}), about {duration(record['seconds'])}, {needs}"
    note = "" if record["status"] == WRITTEN else f"{record['status']}; "
    share = record["strange_tiles"]
    strange = "" if share is None else f", {share:.0%} of the tiles strange to it"
    return f"{_size(record)} → {', '.join(record['files'])} ({note}{_settings(record)}{strange})"


def _size(record: Mapping[str, Any]) -> str:
    return f"{counted(record['tiles'], 'tile')} × {counted(record['genes'], 'gene')}"


def _settings(record: Mapping[str, Any]) -> str:
    """What a wrong answer would be seen by: neighbours, pixel size, reference."""
    of = f": {record['reference']['species']}" if record["reference"]["species"] else ""
    mpp = f"{record['mpp']:.4g} µm/px ({record['mpp_source']})"
    return f"K {record['k']}, {mpp}, reference {record['reference']['name']}{of}"


class Tally:
    """Counts the slides of a batch as they end and tells of each; used in the order of the events."""

    def __init__(self, batch: Batch, tells: Tells) -> None:
        self.total = len(batch.jobs)
        """Slides of the batch."""
        self._tells = tells
        self._counts: Counter[str] = Counter()
        self._tiles = self._code = 0
        self._start = time.monotonic()

    @property
    def ended(self) -> int:
        """Slides that have ended, well or not."""
        return sum(self._counts.values())

    def title(self, job: Job) -> str:
        """Of the progress bar of the slide that begins now."""
        left = f" ({self._left()})" if self._left() else ""
        return f"{self._place(self.ended + 1)}{job.label}{left}"

    def done(self, job: Job, record: Record) -> None:
        """A slide that came out."""
        place = self._count(record["status"])
        self._tiles += record["tiles"]
        left = f"; {self._left()}" if self._left() else ""
        self._tells.each(
            {"slide": job.file, "name": job.name} | record,
            f"{place}{job.label}: {line_of(record)}{left}",
        )

    def failed(self, job: Job, error: BleepError) -> None:
        """A slide that did not; a single one's error is raised once its record is told."""
        place = self._count(FAILED)
        self._code = self._code or error.exit_code
        record = {"slide": job.file, "name": job.name, "status": FAILED}
        self._tells.each(record | {"error": self._tells.worded(error), "exit_code": error.exit_code}, None)
        if self.total == 1:
            raise error
        self._tells.error(type(error)(f"{place}{error.text}", origin=error.origin))

    def end(self) -> int:
        """Tells what came out of several slides; returns the exit code, that of the first error if any."""
        if self.total > 1:
            parts = [f"{self._counts[status]} {status}" for status in (WRITTEN, COMPLETE, ESTIMATED, FAILED)]
            told = ", ".join(part for part in parts if not part.startswith("0 "))
            spent = duration(time.monotonic() - self._start)
            self._tells.say(f"{counted(self.total, 'slide')}: {told}; {counted(self._tiles, 'tile')} in {spent}")
        return self._code

    def _count(self, status: str) -> str:
        """Counts a slide that has ended; returns its place."""
        self._counts[status] += 1
        return self._place(self.ended)

    def _place(self, number: int) -> str:
        return f"{number}/{self.total} " if self.total > 1 else ""

    def _left(self) -> str:
        """What remains of the whole batch, by what a slide has taken; empty before that is known."""
        worked = self.ended - self._counts[COMPLETE]
        if not worked or self.ended == self.total:
            return ""
        spent = time.monotonic() - self._start
        return f"about {duration(spent / worked * (self.total - self.ended))} left"
