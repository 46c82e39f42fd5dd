"""Any number of slides through one predictor: targets are checked first, a bad slide does not cost the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bleep_cli.atomic import check_free
from bleep_cli.bundle import Bundle
from bleep_cli.console import Console
from bleep_cli.errors import BleepError, OutputError, SlideError, UsageError
from bleep_cli.estimate import estimate
from bleep_cli.output import FORMATS, output_path
from bleep_cli.predict import Plan, PredictOptions, Predictor, plan, slide_id
from bleep_cli.report import PICTURE_SUFFIX, default_gene, write_gene_png

Paths = dict[str, Path]
PICTURE = "png"


def gene_list(genes: str | None) -> tuple[str, ...] | None:
    """``--genes``: names separated by commas, or a file with one a line; None for all."""
    if genes is None:
        return None
    file = Path(genes)
    text = file.read_text(encoding="utf-8") if "," not in genes and file.is_file() else genes
    names = tuple(name for name in text.replace(",", "\n").split() if name)
    if not names:
        raise UsageError("--genes names no gene")
    return names


def shown_gene(bundle: Bundle, gene: str, genes: tuple[str, ...] | None) -> str:
    """The symbol of the picture's gene, checked before the work starts."""
    row = int(bundle.gene_rows([gene], "--gene")[0])
    if genes is not None and row not in bundle.gene_rows(genes):
        raise UsageError(f"--gene {gene} is not among --genes")
    return str(bundle.symbols[row])


def parse_formats(formats: str) -> list[str]:
    """``--format``: table formats and ``png``."""
    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    known = [*FORMATS, PICTURE]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise UsageError(f"--format {formats}: choose among {', '.join(known)}")
    return chosen


def output_targets(slides: Sequence[Path], out: Path, formats: Sequence[str], force: bool) -> dict[Path, Paths]:
    """Every output path of every slide, checked before the work starts."""
    targets: dict[Path, Paths] = {}
    taken: set[Path] = set()
    for slide in slides:
        name = slide_id(slide.name)
        picture = out / f"{name}{PICTURE_SUFFIX}"
        paths = {kind: picture if kind == PICTURE else output_path(out, name, kind) for kind in formats}
        if taken & set(paths.values()) or slide in targets:
            raise UsageError(f"two slides would both be written as {name}; predict them into different folders")
        taken |= set(paths.values())
        for path in paths.values():
            if path.exists() and slide.exists() and path.samefile(slide):
                raise UsageError(f"{path.name} would replace the slide itself; choose another folder with -o")
            check_free(path, force)
        targets[slide] = paths
    return targets


def predict_slides(
    console: Console,
    targets: Mapping[Path, Paths],
    bundle: Bundle,
    options: PredictOptions,
    *,
    gene: str | None,
    force: bool,
) -> int:
    """Slides one after the other; a bad one is reported and the others still come out.

    Returns the exit code: 0, or that of the first error. A single slide's error is raised.
    """
    predictor: Predictor | None = None
    records: list[dict[str, Any]] = []
    failure: BleepError | None = None
    for slide, paths in targets.items():
        try:
            ready = plan(slide, bundle.info, options)
            try:
                predictor = predictor or Predictor(bundle, options)
                records.append(_one_slide(console, predictor, ready, paths, gene, force))
            finally:
                ready.slide.close()
        except (SlideError, OutputError) as error:
            if len(targets) == 1:
                raise
            console.error(str(error))
            failure = failure or error
    console.data({"slides": records}, [line for record in records for line in record["lines"]])
    return failure.exit_code if failure else 0


def _one_slide(
    console: Console, predictor: Predictor, ready: Plan, paths: Paths, gene: str | None, force: bool
) -> dict[str, Any]:
    for warning in ready.warnings:
        console.say(f"bleep: {warning}")
    name = ready.slide.name
    with console.progress(name) as progress:
        prediction = predictor.predict(ready, progress)
        for kind, path in paths.items():
            if kind == PICTURE:
                write_gene_png(prediction, gene or default_gene(prediction), path, force=force)
            else:
                FORMATS[kind].write(prediction, path, force=force, progress=progress)
    tiles, genes = len(prediction.grid), len(prediction.symbols)
    files = [str(path) for path in paths.values()]
    return {
        "slide": name,
        "tiles": tiles,
        "genes": genes,
        "mpp": ready.slide.mpp,
        "files": files,
        "lines": [f"{name}: {tiles} tiles × {genes} genes → {', '.join(files)}"],
    }


def dry_run(console: Console, slides: Sequence[Path], bundle: Bundle, options: PredictOptions) -> None:
    """Tells what predicting the slides would take; writes nothing."""
    predictor = Predictor(bundle, options)
    records = []
    for slide in slides:
        ready = plan(slide, bundle.info, options)
        try:
            records.append(estimate(predictor, ready))
        finally:
            ready.slide.close()
    console.data({"slides": [vars(r) for r in records]}, [r.line() for r in records])
