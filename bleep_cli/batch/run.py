"""Any number of slides through one predictor: targets are checked first, a bad slide does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bleep_cli.base.atomic import check_free
from bleep_cli.batch.resume import PICTURE, Identity, Paths, is_complete, shape
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import BleepError, OutputError, SlideError, UsageError
from bleep_cli.outputs.blocks import default_gene
from bleep_cli.outputs.formats import FORMATS, output_path
from bleep_cli.outputs.picture import PICTURE_SUFFIX, write_gene_png
from bleep_cli.prediction.estimate import estimate
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.slide.open import open_slide, slide_id
from bleep_cli.types import Progress, Slide, Tells, no_progress

WRITTEN, COMPLETE = "written", "complete already"
Record = dict[str, Any]
"""What ``bleep --json predict`` tells of a slide."""


@dataclass(frozen=True)
class Run:
    """What all slides of one command have in common.

    ``gene`` of the picture; ``wanted`` what a result must say of itself for ``--resume`` to keep it (None: do not
    look); ``force`` replaces results that are there.
    """

    bundle: Bundle
    options: PredictOptions
    gene: str | None = None
    force: bool = False
    wanted: Identity | None = None


def output_targets(slides: Sequence[Path], out: Path, formats: Sequence[str], run: Run) -> dict[Path, Paths]:
    """Every output path of every slide, tables before pictures, checked before the work starts.

    Raises ``UsageError`` or ``OutputError``; with ``run.wanted`` also for a result that does not belong.
    """
    ordered = sorted(formats, key=PICTURE.__eq__)
    targets: dict[Path, Paths] = {}
    taken: set[Path] = set()
    for slide in slides:
        name = slide_id(slide.name)
        picture = out / f"{name}{PICTURE_SUFFIX}"
        paths = {kind: picture if kind == PICTURE else output_path(out, name, kind) for kind in ordered}
        if taken & set(paths.values()) or slide in targets:
            raise UsageError(f"two slides would both be written as {name}; predict them into different folders")
        taken |= set(paths.values())
        for path in paths.values():
            if path.exists() and slide.exists() and path.samefile(slide):
                raise UsageError(f"{path.name} would replace the slide itself; choose another folder with -o")
            check_free(path, run.force or run.wanted is not None)
        if run.wanted is not None:
            is_complete(paths, run.wanted, force=run.force)
        targets[slide] = paths
    return targets


def predict_slides(tells: Tells, targets: Mapping[Path, Paths], run: Run) -> int:
    """Slides one after the other; a bad one is reported and the others still come out.

    Returns the exit code: 0, or that of the first error. A single slide's error is raised.
    """
    predictor = cache(lambda: Predictor(run.bundle, run.options))
    records: list[Record] = []
    failures: dict[Path, BleepError] = {}
    for slide, paths in targets.items():
        try:
            with tells.progress(slide.name) as progress:
                records.append(predict_slide(slide, paths, run, predictor, warn=tells.say, progress=progress))
        except (SlideError, OutputError) as error:
            if len(targets) == 1:
                raise
            tells.error(str(error))
            failures[slide] = error
    return report(tells, records, failures)


def report(tells: Tells, records: Sequence[Record], failures: Mapping[Path, BleepError]) -> int:
    """Tells what came out and what did not; returns the exit code, that of the first error if there is one."""
    failed = [{"slide": slide.name, "error": str(error)} for slide, error in failures.items()]
    tells.data({"slides": list(records), "failed": failed}, [_line(record) for record in records])
    return next((error.exit_code for error in failures.values()), 0)


def predict_slide(
    slide: Path,
    paths: Paths,
    run: Run,
    predictor: Callable[[], Predictor],
    *,
    warn: Callable[[str], None],
    progress: Progress = no_progress,
) -> Record:
    """Predicts one slide and writes its files, tables first; returns what came out.

    ``predictor`` is asked for only once the slide has been opened. Raises ``SlideError`` and ``OutputError`` for
    this slide's troubles.
    """
    done = finished(slide, paths, run)
    if done is not None:
        return done
    some = run.wanted is not None and any(path.exists() for path in paths.values())  # ours, but not all of them
    ready = plan(slide, run.bundle.info, run.options)
    try:
        for warning in ready.warnings:
            warn(f"bleep: {warning}")
        prediction = predictor().predict(ready, progress)
        for kind, path in paths.items():
            if kind == PICTURE:
                shown = run.gene or default_gene(prediction)
                write_gene_png(prediction, shown, path, force=run.force or some)
            else:
                FORMATS[kind].write(prediction, path, force=run.force or some, progress=progress)
    finally:
        ready.slide.close()
    return _record(ready.slide, paths, (len(prediction.grid), len(prediction.symbols)), WRITTEN)


def finished(slide: Path, paths: Paths, run: Run) -> Record | None:
    """What was written earlier, if it is all there and belongs (:func:`bleep_cli.batch.resume.is_complete`)."""
    if run.wanted is None or not any(path.exists() for path in paths.values()):
        return None
    opened = open_slide(slide, run.options.mpp)
    try:
        if not is_complete(paths, run.wanted | {"slide": opened.sha256}, force=run.force):
            return None
        size = next(shape(path, kind) for kind, path in paths.items() if kind in FORMATS)
        return _record(opened, paths, size, COMPLETE)
    finally:
        opened.close()


def _record(slide: Slide, paths: Paths, size: tuple[int, int], status: str) -> Record:
    return {
        "slide": slide.name,
        "status": status,
        "tiles": size[0],
        "genes": size[1],
        "mpp": slide.mpp,
        "files": [str(path) for path in paths.values()],
    }


def _line(record: Record) -> str:
    note = "" if record["status"] == WRITTEN else f" ({record['status']})"
    size = f"{record['tiles']} tiles × {record['genes']} genes"
    return f"{record['slide']}: {size} → {', '.join(record['files'])}{note}"


def dry_run(tells: Tells, slides: Sequence[Path], bundle: Bundle, options: PredictOptions) -> None:
    """Tells what predicting the slides would take; writes nothing."""
    predictor = Predictor(bundle, options)
    records = []
    for slide in slides:
        ready = plan(slide, bundle.info, options)
        try:
            records.append(estimate(predictor, ready))
        finally:
            ready.slide.close()
    tells.data({"slides": [vars(r) for r in records]}, [r.line() for r in records])
