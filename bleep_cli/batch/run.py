"""Any number of slides through one predictor: each is told of as it ends, a bad one does not cost the others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

from bleep_cli.base.beside import loading
from bleep_cli.batch.kinds import PICTURE, WRITERS, WRITTEN_WITH, check_grid, left_out, results_of
from bleep_cli.batch.prepare import Batch, Job
from bleep_cli.batch.resume import is_complete
from bleep_cli.batch.tell import COMPLETE, WRITTEN, Record, Tally, command_of, estimated, record_of
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import BleepError, OutputError, SlideError, UsageError
from bleep_cli.findings import Finding, refuse_warnings
from bleep_cli.outputs.anonymous import anonymised
from bleep_cli.outputs.blocks import default_gene
from bleep_cli.outputs.picture import picture_gene, write_gene_png
from bleep_cli.outputs.set_scores import scored
from bleep_cli.outputs.stored import shape
from bleep_cli.prediction.estimate import estimate
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.tile_checks import strange_share
from bleep_cli.slide.open import open_slide
from bleep_cli.types import Progress, Tells, no_progress

Work = Callable[[Job, Progress], Record]


class UnfitError(Exception):
    """What keeps the reference from being used at all, so that no slide can be predicted."""

    def __init__(self, error: BleepError) -> None:
        self.error = error
        super().__init__(str(error))


def predict_batch(batch: Batch, tells: Tells) -> int:
    """Slides one after the other, each told of as it ends; a bad one is told of and the others still come out.

    Returns the exit code: 0, or that of the first error. A single slide's error is raised.
    """
    predictor = predictor_maker(batch.bundle, batch.options)
    return _each(batch, tells, lambda job, progress: predict_slide(job, batch, predictor, tells.finding, progress))


def tell_estimates(batch: Batch, tells: Tells) -> int:
    """Tells what predicting the slides would take; writes nothing. Returns as :func:`predict_batch` does."""
    predictor = predictor_maker(batch.bundle, batch.options)

    def work(job: Job, _progress: Progress) -> Record:
        ready = plan(job.slide, batch.bundle.info, job.options, job.name, signature=batch.bundle.signature())
        try:
            check_grid(job.paths, ready.grid)
            if batch.strict:
                refuse_warnings(ready.findings, SlideError)
            for finding in ready.findings:
                tells.finding(finding)
            return estimated(job, batch, ready, estimate(predictor(), ready))
        finally:
            ready.slide.close()

    return _each(batch, tells, work)


def _each(batch: Batch, tells: Tells, work: Work) -> int:
    tally = Tally(batch, tells)
    for job in batch.jobs:
        error: BleepError | None = None
        with tells.progress(tally.title(job)) as progress:
            try:
                record = work(job, progress)
            except UnfitError as unfit:
                raise unfit.error from unfit
            except (SlideError, OutputError, UsageError) as slides:
                error = slides
        if error is None:
            tally.done(job, record)
        else:
            tally.failed(job, error)
    return tally.end()


def predictor_maker(bundle: Bundle, options: PredictOptions) -> Callable[[], Predictor]:
    """What makes the one predictor when it is first asked for; ``UnfitError`` where that cannot be."""

    @cache
    def make() -> Predictor:
        try:
            return Predictor(bundle, options)
        except BleepError as error:
            raise UnfitError(error) from error

    return make


def predict_slide(
    job: Job,
    batch: Batch,
    predictor: Callable[[], Predictor],
    tell: Callable[[Finding], None],
    progress: Progress = no_progress,
) -> Record:
    """Predicts one slide and writes its files, tables first; returns what came out.

    ``predictor`` is asked for only once the slide has been opened. Raises ``SlideError``, ``OutputError`` and
    ``UsageError`` for this slide's troubles, ``UnfitError`` for those of all.
    """
    done = finished(job, batch)
    if done is not None:
        return done
    # Where results are kept, what is there by now is ours, but not all of it is there.
    force = batch.force or (job.wanted is not None and any(path.exists() for path in job.paths.values()))
    ready = plan(job.slide, batch.bundle.info, job.options, job.name, signature=batch.bundle.signature())
    shown = None
    try:
        check_grid(job.paths, ready.grid)
        if batch.strict:
            refuse_warnings(ready.findings, SlideError)
        for finding in ready.findings:
            tell(finding)
        made = predictor()
        with loading([module for kind in job.paths for module in WRITTEN_WITH.get(kind, ())]):
            prediction = made.predict_plan(ready, progress, command=command_of(job, batch))
        noticed = prediction.findings[len(ready.findings) :]
        prediction = scored(prediction, batch.sets)
        prediction = anonymised(prediction) if batch.anonymise else prediction
        if batch.strict:
            refuse_warnings(noticed, SlideError)
        further = (*noticed, *left_out(job.paths, prediction, ready.slide.name))
        for finding in further:
            tell(finding)
        for kind, path in job.paths.items():
            if kind == PICTURE:
                shown = batch.gene or default_gene(prediction)
                write_gene_png(prediction, shown, path, force=force)
            else:
                WRITERS[kind].write(prediction, path, force=force, progress=progress)
    finally:
        ready.slide.close()
    size = (len(prediction.grid), len(prediction.symbols))
    told = (*ready.findings, *further)
    strange = strange_share(prediction.obs, prediction.in_tissue)
    return record_of(job, batch, WRITTEN, told, slide=ready.slide, size=size, gene=shown, strange=strange)


def finished(job: Job, batch: Batch) -> Record | None:
    """What was written earlier, if it is all there and belongs (:func:`bleep_cli.batch.resume.is_complete`)."""
    if job.wanted is None or not any(path.exists() for path in job.paths.values()):
        return None
    opened = open_slide(
        job.slide, job.options.mpp, scene=job.options.scene, mpp_if_unstated=job.options.mpp_if_unstated
    )
    opened.close()
    wanted = replace(job.wanted, slide=opened.sha256, mpp=opened.mpp)
    if not is_complete(job.paths, wanted, gene=batch.gene, force=batch.force):
        return None
    size = next(shape(path, kind) for kind, path in results_of(job.paths).items())
    gene = picture_gene(job.paths[PICTURE]) if PICTURE in job.paths else None
    return record_of(job, batch, COMPLETE, opened.findings, slide=opened, size=size, gene=gene)
