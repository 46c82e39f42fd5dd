"""All that can be checked before the first slide is read, checked: reference, options, slides, their targets."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.text import file_text, is_there, path_of
from bleep_cli.batch.entries import Entry
from bleep_cli.batch.kinds import BY_ENSEMBL, PICTURE, Paths, check_genes, check_kinds, in_order, target
from bleep_cli.batch.resume import check_resumable, identity, is_complete
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.errors import BleepError, OutputError, UsageError, joined, option
from bleep_cli.genes.gene_sets import known_of, read_gmt
from bleep_cli.limits import MOST_NAME, over
from bleep_cli.outputs.set_scores import columns_of_sets
from bleep_cli.prediction.genes_kept import genes_kept
from bleep_cli.prediction.options import PredictOptions, resolved
from bleep_cli.prediction.provenance import Identity
from bleep_cli.slide.endings import slide_id
from bleep_cli.slide.mpp import check_mpp
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.tiles.positions import read_positions

OF_ONE_SLIDE = {"at": "the positions", "mask": "the outline"}
"""Options that cannot be of several slides, and what they hold."""


@dataclass(frozen=True)
class Job:
    """One slide of a batch."""

    slide: Path
    """A file, or the folder of a DICOM series."""
    name: str
    """What its results are called."""
    options: PredictOptions
    """Its own, and those of all slides."""
    paths: Paths
    """Where each format goes; tables before pictures."""
    wanted: Identity | None = None
    """What a result must say of itself to be kept; None: results are not looked at."""

    anonymous: bool = False
    """Whether its file name is not to be told."""

    @property
    def file(self) -> str:
        """The file name that is told."""
        return self.name if self.anonymous else file_text(self.slide.name)

    @property
    def label(self) -> str:
        """The slide for a person: its file name, and what its results are called where that is not the same."""
        file = self.file
        return file if self.anonymous or slide_id(file) == self.name else f"{self.name} ({file})"


@dataclass(frozen=True)
class Batch:
    """Slides, and what all of them have in common."""

    ref: Path
    """Where the bundle lies."""
    bundle: Bundle
    options: PredictOptions
    """For every slide; what a slide has of its own is in its job."""
    jobs: tuple[Job, ...]
    """The slides, in order."""
    gene: str | None = None
    """Symbol of the pictures' gene; None: the one that varies most on each slide."""
    force: bool = False
    """Replaces results that are there."""
    strict: bool = False
    """Refuses a slide of which there is a warning."""
    anonymise: bool = False
    """Leaves names out of results; its jobs are called by hashes already (:mod:`bleep_cli.batch.anonymous`)."""
    sets: Path | None = None
    """A GMT file whose sets are scored in every tile."""
    command: tuple[str, ...] = ()
    """Words of the command line behind the slides, for the results to state."""


def prepare_batch(
    slides: Sequence[Entry | Path],
    ref: Path,
    out: Path,
    *,
    ref_sha256: str | None = None,
    ref_key: Path | None = None,
    formats: Sequence[str] = ("h5ad", PICTURE),
    gene: str | None = None,
    options: PredictOptions | None = None,
    sets: Path | None = None,
    force: bool = False,
    resume: bool = False,
    strict: bool = False,
    anonymise: bool = False,
    command: Sequence[str] = (),
    inputs: Mapping[str, Path] | None = None,
) -> Batch:
    """The batch of these slides, everything checked that can be before the first slide is read.

    ``ref_sha256`` is the content hash that the reference has to have, ``ref_key`` holds who has to have signed it,
    ``sets`` a GMT file whose sets are scored. Of genes of sets, those that the reference has are predicted.
    Of several slides, ``options.mpp`` holds for those that state no pixel size themselves.

    Raises ``UsageError``, ``ReferenceError`` and ``OutputError``, what is wrong with single slides a line each;
    with ``resume`` also for a result that is there and does not belong. ``inputs`` are further files, by what they
    are called, that no result may replace.
    """
    entries = [slide if isinstance(slide, Entry) else Entry(slide) for slide in slides]
    chosen = _for_all(entries, options or PredictOptions())
    bundle = open_bundle(ref, ref_sha256, ref_key)
    resolved(bundle, chosen)
    chosen = _of_known_genes(chosen, bundle)
    check_kinds(tuple(formats))
    _check_names_of_genes(bundle, chosen, formats, sets)
    if resume:
        check_resumable(formats)
    shown = None if gene is None else _shown_gene(bundle, gene, chosen.genes)
    problems = Problems()
    jobs = []
    for entry in entries:
        with problems.of(entry.where):
            jobs.append(replace(_job(entry, chosen, out, in_order(tuple(formats))), anonymous=anonymise))
            resolved(bundle, jobs[-1].options)
    for job in jobs:
        with problems.of(""):
            for path in job.paths.values():
                others = {f"another slide, {other.file}": other.slide for other in jobs}
                refuse_inputs(path, {"the reference": ref, **others, **dict(inputs or {})})
    _check_names(jobs, problems)
    problems.raise_all()
    if resume:
        jobs = [replace(job, wanted=identity(bundle, job.options, sets=sets, anonymise=anonymise)) for job in jobs]
        for job in jobs:
            with problems.of(""):
                _check_resumed(job, shown, force=force)
        problems.raise_all()
    else:
        _check_free(jobs, force=force)
    return Batch(ref, bundle, chosen, tuple(jobs), shown, force, strict, anonymise, sets, tuple(command))


def _for_all(entries: Sequence[Entry], options: PredictOptions) -> PredictOptions:
    """The options as they hold for every slide; ``UsageError`` for what can only be of one."""
    check_mpp(options.mpp)
    if len(entries) == 1:
        return options
    for name, what in OF_ONE_SLIDE.items():
        if getattr(options, name) is not None:
            raise UsageError(
                f"{option(name)} holds {what} of one slide; give one slide, or a table of them "
                f"({option('slides')}) with a column {name}"
            )
    return replace(options, mpp=None, mpp_if_unstated=options.mpp)


def _of_known_genes(options: PredictOptions, bundle: Bundle) -> PredictOptions:
    """The options with those genes of sets that the reference has, by name."""
    if options.genes is None:
        return options
    known = {*map(str, bundle.gene_ids), *map(str, bundle.symbols)}
    return replace(options, genes=tuple(known_of(options.genes, known, bundle.name)))


def _check_names_of_genes(
    bundle: Bundle, options: PredictOptions, formats: Sequence[str], sets: Path | None
) -> None:
    """Raises ``UsageError`` for a format, or gene sets, that the genes to predict do not do for."""
    if sets is None and not set(formats) & set(BY_ENSEMBL):
        return
    columns, _ = genes_kept(bundle, options)
    check_genes(formats, bundle.gene_ids[columns], bundle.symbols[columns])
    if sets is not None:
        columns_of_sets(read_gmt(sets), bundle.gene_ids[columns], bundle.symbols[columns])


def _shown_gene(bundle: Bundle, gene: str, genes: tuple[str, ...] | None) -> str:
    """The symbol of the pictures' gene."""
    row = int(bundle.gene_rows([gene], "gene")[0])
    if genes is not None and row not in bundle.gene_rows(genes):
        raise UsageError(f"{option('gene')} {gene} is not among {option('genes')}")
    return str(bundle.symbols[row])


# --- of one slide


def _job(entry: Entry, chosen: PredictOptions, out: Path, formats: Sequence[str]) -> Job:
    """A slide with its options and targets; raises for what is wrong with them."""
    slide = entry.slide
    if not is_there(slide):
        raise UsageError(f"{file_text(slide.name)[:MOST_NAME]}: no such file")
    options = replace(chosen, **entry.options)
    check_mpp(options.mpp)
    if options.at is not None:
        read_positions(options.at, lambda: 1.0)  # µm or pixels: that shows on the slide
    if options.mask is not None:
        read_mask_file(options.mask, options.mask_class)
    stem = str(path_of(entry.name)) if entry.name else slide_id(slide.name)
    size = len(os.fsencode(stem))
    if size > MOST_NAME:
        told = over(f"a name of {size} bytes", "MOST_NAME")
        raise UsageError(
            f"{file_text(stem)[:40]}...: {told}; rename it, or name it in a table ({option('slides')})"
        )
    paths = {kind: target(out, stem, kind) for kind in formats}
    for path in paths.values():
        refuse_inputs(path, {"the slide itself": slide, "the positions": options.at, "the mask": options.mask})
    return Job(slide, file_text(stem), options, paths)


def refuse_inputs(path: Path, inputs: Mapping[str, Path | None]) -> None:
    """Raises ``UsageError`` for a place of a result that is one of the files, or folders, it is made of."""
    for what, file in inputs.items():
        if file is None or not path.exists() or not file.exists():
            continue
        if path.samefile(file) or path.resolve() in file.resolve().parents:
            raise UsageError(
                f"{file_text(path.name)} would replace {what}; choose another folder with {option('out')}"
            )


def _check_resumed(job: Job, gene: str | None, *, force: bool) -> None:
    for path in job.paths.values():
        check_free(path, force=True)
    if job.wanted is not None:
        is_complete(job.paths, job.wanted, gene=gene, force=force)


# --- of all slides together


class Problems:
    """What is wrong with several slides, gathered, so that all of it is told at once."""

    def __init__(self) -> None:
        self._found: list[BleepError] = []

    @contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keeps an error of the body, and where it is from."""
        try:
            yield
        except BleepError as error:
            self.add(error, where)

    def add(self, error: BleepError, where: str = "") -> None:
        """Keeps an error."""
        text = f"{where}: {error.text}" if where else error.text
        self._found.append(type(error)(text, origin=error.origin))

    def raise_all(self) -> None:
        """Raises one error that tells of all: of their class, or ``UsageError`` where there are several."""
        if self._found:
            kinds = {type(error) for error in self._found}
            kind = kinds.pop() if len(kinds) == 1 else UsageError
            raise kind(joined(error.text for error in self._found))


def _check_names(jobs: Sequence[Job], problems: Problems) -> None:
    """Two slides must not be written to the same files."""
    same: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        same[os.path.normcase(job.name)].append(job)
    for name, several in same.items():
        if len(several) > 1:
            files = " and ".join(job.file for job in several)
            problems.add(
                UsageError(
                    f"{files} would both be written as {name}; a table of slides ({option('slides')}) names them "
                    "apart in its column name"
                )
            )


def _check_free(jobs: Sequence[Job], *, force: bool) -> None:
    paths = [path for job in jobs for path in job.paths.values()]
    there = [] if force else [path for path in paths if os.path.lexists(path)]
    if there:
        more = f", and {len(there) - 1} more" if len(there) > 1 else ""
        raise OutputError(
            f"{file_text(there[0].name)} exists already{more}; {option('resume')} leaves what is finished, "
            f"{option('force')} replaces it"
        )
    for path in paths:
        check_free(path, force)
