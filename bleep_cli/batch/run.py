"""Any number of slides through one predictor: targets are checked first, a bad slide does not cost the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from bleep_cli.base.atomic import check_free
from bleep_cli.batch.resume import PICTURE, Paths, check_resumable, identity, is_complete
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.errors import BleepError, OutputError, SlideError, UsageError, option
from bleep_cli.findings import Finding, refuse_warnings
from bleep_cli.outputs.blocks import default_gene
from bleep_cli.outputs.formats import FORMATS, output_path
from bleep_cli.outputs.picture import PICTURE_SUFFIX, write_gene_png
from bleep_cli.outputs.stored import shape
from bleep_cli.prediction.estimate import estimate
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.provenance import Identity
from bleep_cli.slide.open import open_slide, slide_id
from bleep_cli.types import Progress, Slide, Tells, no_progress

WRITTEN, COMPLETE = "written", "complete already"
Record = dict[str, Any]
"""What ``bleep --json predict`` tells of a slide."""


@dataclass(frozen=True)
class Batch:
    """Slides, what all of them have in common, and where each one's files go."""

    ref: Path
    """Where the bundle lies."""
    bundle: Bundle
    options: PredictOptions
    """For every slide."""
    targets: Mapping[Path, Paths]
    """Files by format of every slide, in order; tables before pictures."""
    gene: str | None = None
    """Symbol of the pictures' gene; None: the one that varies most on each slide."""
    force: bool = False
    """Replaces results that are there."""
    wanted: Identity | None = None
    """What a result must say of itself to be kept; None: results are not looked at."""
    strict: bool = False
    """Refuses a slide of which there is a warning."""


def prepare_batch(
    slides: Sequence[Path],
    ref: Path,
    out: Path,
    *,
    formats: Sequence[str] = ("h5ad", PICTURE),
    gene: str | None = None,
    options: PredictOptions | None = None,
    force: bool = False,
    resume: bool = False,
    strict: bool = False,
) -> Batch:
    """Everything that can be checked before the first slide is read, checked: reference, genes, formats, targets.

    Raises ``UsageError``, ``ReferenceError`` and ``OutputError``; with ``resume`` also for a result that is
    there and does not belong.
    """
    chosen = options or PredictOptions()
    if chosen.at is not None and len(slides) > 1:
        raise UsageError(f"{option('at')} holds the positions of one slide; give one slide")
    bundle = open_bundle(ref)
    _check_formats(formats, resume=resume)
    shown = None if gene is None else _shown_gene(bundle, gene, chosen.genes)
    wanted = identity(bundle, chosen) if resume else None
    targets = _output_targets(slides, out, formats, wanted, force=force)
    return Batch(ref, bundle, chosen, targets, shown, force, wanted, strict)


def _check_formats(formats: Sequence[str], *, resume: bool) -> None:
    known = [*FORMATS, PICTURE]
    if not formats or set(formats) - set(known):
        raise UsageError(f"{option('format')} {','.join(formats)}: choose among {', '.join(known)}")
    if resume:
        check_resumable(formats)


def _shown_gene(bundle: Bundle, gene: str, genes: tuple[str, ...] | None) -> str:
    """The symbol of the pictures' gene."""
    row = int(bundle.gene_rows([gene], "gene")[0])
    if genes is not None and row not in bundle.gene_rows(genes):
        raise UsageError(f"{option('gene')} {gene} is not among {option('genes')}")
    return str(bundle.symbols[row])


def _output_targets(
    slides: Sequence[Path], out: Path, formats: Sequence[str], wanted: Identity | None, *, force: bool
) -> dict[Path, Paths]:
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
                raise UsageError(
                    f"{path.name} would replace the slide itself; choose another folder with {option('out')}"
                )
            check_free(path, force or wanted is not None)
        if wanted is not None:
            is_complete(paths, wanted, force=force)
        targets[slide] = paths
    return targets


def predict_batch(batch: Batch, tells: Tells) -> int:
    """Slides one after the other; a bad one is told of and the others still come out.

    Returns the exit code: 0, or that of the first error. A single slide's error is raised.
    """
    predictor = cache(lambda: Predictor(batch.bundle, batch.options))
    records: list[Record] = []
    failures: dict[Path, BleepError] = {}
    for slide, paths in batch.targets.items():
        try:
            with tells.progress(slide.name) as progress:
                records.append(
                    predict_slide(slide, paths, batch, predictor, tell=tells.finding, progress=progress)
                )
        except (SlideError, OutputError) as error:
            if len(batch.targets) == 1:
                raise
            tells.error(error)
            failures[slide] = error
    return report(tells, records, failures)


def report(tells: Tells, records: Sequence[Record], failures: Mapping[Path, BleepError]) -> int:
    """Tells what came out and what did not; returns the exit code, that of the first error if there is one."""
    failed = [{"slide": slide.name, "error": tells.worded(error)} for slide, error in failures.items()]
    tells.data({"slides": list(records), "failed": failed}, [_line(record) for record in records])
    return next((error.exit_code for error in failures.values()), 0)


def predict_slide(
    slide: Path,
    paths: Paths,
    batch: Batch,
    predictor: Callable[[], Predictor],
    *,
    tell: Callable[[Finding], None],
    progress: Progress = no_progress,
) -> Record:
    """Predicts one slide and writes its files, tables first; returns what came out.

    ``predictor`` is asked for only once the slide has been opened. Raises ``SlideError`` and ``OutputError`` for
    this slide's troubles.
    """
    done = finished(slide, paths, batch)
    if done is not None:
        return done
    some = batch.wanted is not None and any(path.exists() for path in paths.values())  # ours, but not all of them
    ready = plan(slide, batch.bundle.info, batch.options, batch.bundle.signature())
    try:
        if batch.strict:
            refuse_warnings(ready.findings, SlideError)
        for finding in ready.findings:
            tell(finding)
        prediction = predictor().predict_plan(ready, progress)
        for kind, path in paths.items():
            if kind == PICTURE:
                shown = batch.gene or default_gene(prediction)
                write_gene_png(prediction, shown, path, force=batch.force or some)
            else:
                FORMATS[kind].write(prediction, path, force=batch.force or some, progress=progress)
    finally:
        ready.slide.close()
    return _record(ready.slide, paths, (len(prediction.grid), len(prediction.symbols)), WRITTEN, ready.findings)


def finished(slide: Path, paths: Paths, batch: Batch) -> Record | None:
    """What was written earlier, if it is all there and belongs (:func:`bleep_cli.batch.resume.is_complete`)."""
    if batch.wanted is None or not any(path.exists() for path in paths.values()):
        return None
    opened = open_slide(slide, batch.options.mpp)
    try:
        if not is_complete(paths, replace(batch.wanted, slide=opened.sha256), force=batch.force):
            return None
        size = next(shape(path, kind) for kind, path in paths.items() if kind in FORMATS)
        return _record(opened, paths, size, COMPLETE, opened.findings)
    finally:
        opened.close()


def _record(slide: Slide, paths: Paths, size: tuple[int, int], status: str, findings: Sequence[Finding]) -> Record:
    return {
        "slide": slide.name,
        "status": status,
        "tiles": size[0],
        "genes": size[1],
        "mpp": slide.mpp,
        "findings": [finding.plain() for finding in findings],
        "files": [str(path) for path in paths.values()],
    }


def _line(record: Record) -> str:
    note = "" if record["status"] == WRITTEN else f" ({record['status']})"
    size = f"{record['tiles']} tiles × {record['genes']} genes"
    return f"{record['slide']}: {size} → {', '.join(record['files'])}{note}"


def tell_estimates(slides: Sequence[Path], ref: Path, options: PredictOptions, tells: Tells) -> None:
    """Tells what predicting the slides would take; writes nothing."""
    predictor = Predictor(ref, options)
    estimates, records = [], []
    for slide in slides:
        ready = plan(slide, predictor.bundle.info, options, predictor.bundle.signature())
        try:
            for finding in ready.findings:
                tells.finding(finding)
            estimates.append(estimate(predictor, ready))
            records.append(vars(estimates[-1]) | {"scale_check": ready.scale.plain()})
        finally:
            ready.slide.close()
    tells.data({"slides": records}, [found.line() for found in estimates])
