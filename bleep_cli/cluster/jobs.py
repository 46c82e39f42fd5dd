"""Past one machine: slides to predict and sections to embed as tasks on a Dask scheduler.

The workers read slides and bundle from storage that all machines share and write the results there; only plain
records travel. What comes back is checked here, file by file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bleep_cli.base.files.atomic import remove_leftovers
from bleep_cli.base.text import counted, file_text
from bleep_cli.batch.kinds import results_of
from bleep_cli.batch.prepare import Batch, Job
from bleep_cli.batch.resume import check_written, identity
from bleep_cli.batch.tell import Record, Tally
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.choices import Device
from bleep_cli.cluster import worker as cluster_worker
from bleep_cli.cluster.scheduler import Attempts, Plain, Work, connected
from bleep_cli.cluster.worker import UnusableError
from bleep_cli.errors import BleepError, OutputError, ReferenceError, SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.prediction.provenance import Identity
from bleep_cli.reference.build import EmbedImages
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, Progress, Section, Tells

APPEAR_S = 60.0  # network file systems may show a new file to another machine that late
POLL_S = 0.5


def predict_batch(batch: Batch, scheduler: str, tells: Tells) -> int:
    """Slides on the scheduler's workers, one task each, told of as they end; a bad one does not cost the others.

    Every file is read back and compared with what its worker wrote. Returns the exit code as
    :func:`bleep_cli.batch.run.predict_batch` does; a record holds also ``worker``, ``attempts`` (the workers that
    started on the slide, in order) and ``prints`` (bytes and sha256 by format).
    """
    _check(batch.jobs)
    tally = Tally(batch, tells)
    lived: dict[int, tuple[str, int]] = {}
    with connected(scheduler, batch.options.device) as client:
        _make_folders(batch.jobs)
        work = Work(client, cluster_worker.predict_slide, batch.options.device)
        sent = [_job(job, batch) for job in batch.jobs]
        title = counted(len(batch.jobs), "slide")
        outcomes = work.outcomes(sent, _shared(batch), tells.say)
        while (ended := _next(outcomes, tells, title, tally)) is not None:
            number, outcome = ended
            job = batch.jobs[number]
            try:
                record = _checked(job, outcome, _identity(job, batch), tells.finding)
            except BleepError as error:
                if not _of_slide(error):
                    raise
                tally.failed(job, error)
            else:
                lived[number] = (record["worker"], record.pop("pid"))
                tally.done(job, record | {"attempts": work.workers_of(number, lived[number])})
    _sweep(work.attempts, batch.jobs, lived)
    return tally.end()


def _next(
    outcomes: Iterator[tuple[int, Plain | BleepError]], tells: Tells, title: str, tally: Tally
) -> tuple[int, Plain | BleepError] | None:
    """The next slide to end, under a bar that says how many have; it is gone before anything is told."""
    with tells.progress(title) as progress:
        progress("slides", tally.ended, tally.total)
        return next(outcomes, None)


def _check(jobs: Sequence[Job]) -> None:
    """What can be told before anybody is asked to work."""
    if not results_of(jobs[0].paths):
        raise UsageError(
            f"{option('scheduler')} needs a table ({option('format')} h5ad or zarr): the others cannot be checked"
        )


def _make_folders(jobs: Sequence[Job]) -> None:
    """By the client, so that a worker that does not see them is known not to share the storage."""
    for folder in {path.parent for job in jobs for path in job.paths.values()}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{option('out')} {folder.name}: cannot be made ({error.strerror})") from error


def _job(job: Job, batch: Batch) -> Plain:
    # Without --force no result was there at the start, so one that a later attempt finds is an earlier one's.
    wanted = job.wanted or (None if batch.force else _identity(job, batch))
    return {
        "slide": str(job.slide.absolute()),
        "name": job.name,
        "paths": {kind: str(path.absolute()) for kind, path in job.paths.items()},
        "options": cluster_worker.options_to_plain(job.options),
        "wanted": None if wanted is None else asdict(wanted),
    }


def _identity(job: Job, batch: Batch) -> Identity:
    return identity(batch.bundle, job.options, sets=batch.sets, anonymise=batch.anonymise)


def _shared(batch: Batch) -> Plain:
    return {
        "bundle": str(batch.ref.absolute()),
        "content_sha256": batch.bundle.content_sha256,
        "verified": batch.bundle.verified,
        "options": cluster_worker.options_to_plain(batch.options),
        "gene": batch.gene,
        "force": batch.force,
        "strict": batch.strict,
        "anonymise": batch.anonymise,
        "sets": None if batch.sets is None else str(batch.sets.absolute()),
        "command": list(batch.command),
    }


def _checked(job: Job, outcome: Plain | BleepError, wanted: Identity, tell: Callable[[Finding], None]) -> Record:
    """The record of a slide whose files are what its worker wrote; raises the slide's error otherwise."""
    slide = file_text(job.slide.name)
    if isinstance(outcome, cluster_worker.UnseenError):
        raise outcome if job.slide.exists() else SlideError(f"{slide}: no such file")  # deleted meanwhile
    if isinstance(outcome, BleepError):
        named = slide in str(outcome) or not _of_slide(outcome)
        raise outcome if named else type(outcome)(f"{slide}: {outcome.text}")
    for told in outcome.pop("told"):
        tell(Finding(**told))
    until = time.monotonic() + APPEAR_S
    while not all(path.exists() for path in job.paths.values()) and time.monotonic() < until:
        time.sleep(POLL_S)
    check_written(job.paths, outcome["prints"], (outcome["tiles"], outcome["genes"]), wanted)
    return outcome | {"files": [file_text(path) for path in job.paths.values()]}


def _of_slide(error: BleepError) -> bool:
    """Whether the other slides may go on: a bad slide, options that do not fit it, an unwritable result, a bug."""
    return isinstance(error, SlideError | OutputError | UnusableError) or type(error) is BleepError


def _sweep(attempts: Attempts, jobs: Sequence[Job], lived: Mapping[int, tuple[str, int]]) -> None:
    """Deletes what attempts that died have left beside the results; nobody works on them any more.

    ``lived`` is (worker, process id) of the attempt that a result is of, by the job's number. A folder that was
    being replaced is kept where no new result stands in its place.
    """
    for number, starts in attempts.items():
        for pid in {start[1] for start in starts if start != lived.get(number)}:
            for path in jobs[number].paths.values():
                remove_leftovers(path, pid, replaced=number in lived)


def image_embedder(
    tells: Tells, scheduler: str, folder: Path, encoders: Encoders, device: Device, progress: Progress
) -> EmbedImages:
    """What ``build_reference`` takes as ``embed_images``: one task per section, on the scheduler's workers.

    ``folder`` is where ``encoders`` were read from, on storage that all workers see. Their tiles' looks come with
    them where every worker can tell them as :func:`bleep_cli.fitting.given_looks.with_raw_looks` makes the tower.
    """

    def embed(sections: Sequence[Section]) -> tuple[F32, F32 | None]:
        jobs = [
            {"id": s.id, "image": str(Path(s.image).absolute()), "mpp": s.mpp, "xy_l0": s.xy_l0.tobytes()}
            for s in sections
        ]
        shared = {
            "encoders": str(folder.absolute()),
            "tower_sha256": hashlib.sha256(encoders.image).hexdigest(),
            "px": encoders.tile.px,
            "um": list(encoders.tile.um),
            "views": int(encoders.info.get("views", ALL_VIEWS)),
            "device": device,
        }
        parts: dict[int, tuple[F32, F32]] = {}
        with connected(scheduler, device) as client:
            work = Work(client, cluster_worker.embed_section, device)
            for number, outcome in work.outcomes(jobs, shared, tells.say):
                parts[number] = _embedded(sections[number], outcome)
                progress("sections embedded", len(parts), len(sections))
        vectors, looks = zip(*(parts[number] for number in range(len(sections))), strict=True)
        told = {some.shape[1] for some in looks}
        return np.concatenate(vectors), None if len(told) > 1 or 0 in told else np.concatenate(looks)

    return embed


def _embedded(section: Section, outcome: Plain | BleepError) -> tuple[F32, F32]:
    """Unit vectors f32[n, d] and looks f32[n, l] of a section's tiles."""
    if isinstance(outcome, SlideError):  # of Dask: workers died
        raise ReferenceError(f"section {section.id}: {outcome.text}")
    if isinstance(outcome, BleepError):
        raise outcome
    n = len(section.barcodes)
    vectors, looks = (np.frombuffer(outcome[part], np.float32) for part in ("embeddings", "looks"))
    return vectors.reshape(n, len(vectors) // n), looks.reshape(n, len(looks) // n)
