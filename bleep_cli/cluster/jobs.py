"""Past one machine: slides to predict and sections to embed as tasks on a Dask scheduler.

The workers read slides and bundle from storage that all machines share and write the results there; only plain
records travel. What comes back is checked here, file by file.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from bleep_cli.base.atomic import remove_leftovers
from bleep_cli.batch.resume import Paths, check_written, identity
from bleep_cli.batch.run import Batch, Record, report
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.choices import Device
from bleep_cli.cluster import worker as cluster_worker
from bleep_cli.cluster.scheduler import Attempts, Plain, Work, connected
from bleep_cli.errors import BleepError, OutputError, ReferenceError, SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.outputs.formats import FORMATS
from bleep_cli.prediction.provenance import Identity
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, Progress, Section, Tells

APPEAR_S = 60.0  # network file systems may show a new file to another machine that late
POLL_S = 0.5


def predict_batch(batch: Batch, scheduler: str, tells: Tells) -> int:
    """Slides on the scheduler's workers, one task each; a bad one is reported and the others still come out.

    Every file is read back and compared with what its worker wrote. Returns the exit code as
    :func:`bleep_cli.batch.run.predict_batch` does; a record holds also ``worker``, ``attempts`` (the workers that
    started on the slide, in order) and ``prints`` (bytes and sha256 by format).
    """
    slides, targets = list(batch.targets), batch.targets
    _check(slides, targets)
    wanted = identity(batch.bundle, batch.options)
    records: dict[int, Record] = {}
    failures: dict[Path, BleepError] = {}
    with connected(scheduler, batch.options.device) as client, tells.progress(f"{len(slides)} slides") as progress:
        _make_folders(targets)
        work = Work(client, cluster_worker.predict_slide, batch.options.device)
        jobs = [_job(slide, targets[slide]) for slide in slides]
        for number, outcome in work.outcomes(jobs, _shared(batch, wanted), tells.say):
            slide = slides[number]
            try:
                records[number] = _checked(slide, targets[slide], outcome, wanted, tells.finding)
            except BleepError as error:
                if len(slides) == 1 or not _of_slide(error):
                    raise
                tells.error(error)
                failures[slide] = error
            progress("slides", len(records) + len(failures), len(slides))
    _sweep(work.attempts, {number: targets[slide] for number, slide in enumerate(slides)}, records)
    for number, record in records.items():
        record["attempts"] = [worker for worker, _ in work.attempts[number]]
        del record["pid"]
    return report(tells, [records[number] for number in sorted(records)], failures)


def _check(slides: Sequence[Path], targets: Mapping[Path, Paths]) -> None:
    """What can be told before anybody is asked to work."""
    for slide in slides:
        if not slide.is_file():
            raise UsageError(f"{slide.name}: no such file")
        if not set(targets[slide]) & set(FORMATS):
            raise UsageError(
                f"{option('scheduler')} needs a table ({option('format')} h5ad or zarr): "
                "a picture cannot be checked"
            )


def _make_folders(targets: Mapping[Path, Paths]) -> None:
    """By the client, so that a worker that does not see them is known not to share the storage."""
    for folder in {path.parent for paths in targets.values() for path in paths.values()}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{option('out')} {folder.name}: cannot be made ({error.strerror})") from error


def _job(slide: Path, paths: Paths) -> Plain:
    return {"slide": str(slide.absolute()), "paths": {kind: str(path.absolute()) for kind, path in paths.items()}}


def _shared(batch: Batch, wanted: Identity) -> Plain:
    # Without --force no result was there at the start, so one that a later attempt finds is an earlier one's.
    return {
        "bundle": str(batch.ref.absolute()),
        "content_sha256": batch.bundle.content_sha256,
        "options": cluster_worker.options_to_plain(batch.options),
        "gene": batch.gene,
        "force": batch.force,
        "strict": batch.strict,
        "wanted": asdict(wanted) if batch.wanted is not None or not batch.force else None,
    }


def _checked(
    slide: Path, paths: Paths, outcome: Plain | BleepError, wanted: Identity, tell: Callable[[Finding], None]
) -> Record:
    """The record of a slide whose files are what its worker wrote; raises the slide's error otherwise."""
    if isinstance(outcome, cluster_worker.UnseenError):
        raise outcome if slide.is_file() else SlideError(f"{slide.name}: no such file")  # deleted meanwhile
    if isinstance(outcome, BleepError):
        named = slide.name in str(outcome) or not _of_slide(outcome)
        raise outcome if named else type(outcome)(f"{slide.name}: {outcome.text}")
    for told in outcome.pop("told"):
        tell(Finding(**told))
    until = time.monotonic() + APPEAR_S
    while not all(path.exists() for path in paths.values()) and time.monotonic() < until:
        time.sleep(POLL_S)
    check_written(paths, outcome["prints"], (outcome["tiles"], outcome["genes"]), wanted)
    return outcome | {"files": [str(path) for path in paths.values()]}


def _of_slide(error: BleepError) -> bool:
    """Whether the other slides may go on: a bad slide, a result that cannot be written, a bug."""
    return isinstance(error, SlideError | OutputError) or type(error) is BleepError


def _sweep(attempts: Attempts, paths: Mapping[int, Paths], records: Mapping[int, Record]) -> None:
    """Deletes what attempts that died have left beside the results; nobody works on them any more.

    A folder that was being replaced is kept where no new result stands in its place.
    """
    for number, starts in attempts.items():
        lived = (records[number]["worker"], records[number]["pid"]) if number in records else None
        for pid in {start[1] for start in starts if start != lived}:
            for path in paths[number].values():
                remove_leftovers(path, pid, replaced=number in records)


def image_embedder(
    tells: Tells, scheduler: str, folder: Path, encoders: Encoders, device: Device, progress: Progress
) -> Callable[[Sequence[Section]], F32]:
    """What ``build_reference`` takes as ``embed_images``: one task per section, on the scheduler's workers.

    ``folder`` is where ``encoders`` were read from, on storage that all workers see.
    """

    def embed(sections: Sequence[Section]) -> F32:
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
        parts: dict[int, F32] = {}
        with connected(scheduler, device) as client:
            work = Work(client, cluster_worker.embed_section, device)
            for number, outcome in work.outcomes(jobs, shared, tells.say):
                parts[number] = _embedded(sections[number], outcome)
                progress("sections embedded", len(parts), len(sections))
        return np.concatenate([parts[number] for number in range(len(sections))])

    return embed


def _embedded(section: Section, outcome: Plain | BleepError) -> F32:
    if isinstance(outcome, SlideError):  # of Dask: workers died
        raise ReferenceError(f"section {section.id}: {outcome.text}")
    if isinstance(outcome, BleepError):
        raise outcome
    return np.frombuffer(outcome["embeddings"], np.float32).reshape(len(section.barcodes), -1)
