"""``bleep predict``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from bleep_cli import choices
from bleep_cli.base.files.text_table import read_text
from bleep_cli.base.reasons import reason
from bleep_cli.base.text import file_text, is_file
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.program import COMMON
from bleep_cli.errors import UsageError, option

if TYPE_CHECKING:
    from bleep_cli.api import Entry

NO_MATTER = {
    "slides",
    "slide_table",
    "out",
    "formats",
    "gene",
    "scheduler",
    "resume",
    "force",
    "strict",
    "dry_run",
}
"""Parameters that a table's values do not depend on, or that its command line states otherwise: the same values
are the same bytes."""


def predict(
    ctx: typer.Context,
    ref: opt.Ref,
    ref_sha256: opt.RefSha256 = None,
    ref_key: opt.RefKey = None,
    slides: opt.Slides = None,
    slide_table: opt.SlideTable = None,
    out: opt.Out = Path(),
    formats: opt.Formats = "h5ad,png",
    genes: opt.Genes = None,
    sets: opt.Sets = None,
    gene: opt.Gene = None,
    min_r: opt.MinR = None,
    drop_unreliable: opt.DropUnreliable = False,
    ood_rate: opt.OodRate = choices.OOD_RATE,
    interval: opt.Interval = None,
    samples: opt.Samples = 0,
    k: opt.K = None,
    aggregation: opt.Aggregation = None,
    temperature: opt.Temperature = choices.WEIGHTED_TEMPERATURE,
    key: opt.Key = None,
    views: opt.Views = None,
    mpp: opt.Mpp = None,
    scene: opt.Scene = None,
    stride_um: opt.StrideUm = None,
    min_tissue: opt.MinTissue = choices.MIN_TISSUE,
    mask: opt.Mask = None,
    mask_class: opt.MaskClass = None,
    origin: opt.Origin = "auto",
    at: opt.At = None,
    anonymise: opt.Anonymise = False,
    exclude_donor: opt.ExcludeDonor = None,
    exclude_section: opt.ExcludeSection = None,
    level_of: opt.LevelOf = None,
    include_own: opt.IncludeOwn = False,
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    dry_run: opt.DryRun = False,
    resume: opt.Resume = False,
    force: opt.Force = False,
    strict: opt.Strict = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Predict spatial gene expression on one or more slides."""
    console: Console = ctx.obj
    console.heed(strict=strict)
    from bleep_cli import api

    files = {
        "the list of genes": genes,
        "the table": slide_table,
        "the positions": at,
        "the mask": mask,
        "the gene sets": sets,
    }
    told = {Path(path).name: what for what, path in files.items() if path} if anonymise else {}
    if anonymise:
        console.hide(told | {path.name: "what was named" for path in slides or ()})
    console.begin(f"reading {_first(slides, slide_table)} ...")
    asked = gene_list(genes)
    options = api.PredictOptions(
        mpp=mpp,
        scene=scene,
        stride_um=stride_um,
        min_tissue=min_tissue,
        at=at,
        mask=mask,
        mask_class=tuple(opt.names(mask_class or "")),
        origin=origin,
        genes=asked,
        min_r=min_r,
        drop_unreliable=drop_unreliable,
        ood_rate=ood_rate,
        interval=interval,
        samples=samples,
        k=k,
        aggregation=aggregation,
        temperature=temperature,
        key=key,
        views=views,
        exclude_donor=tuple(opt.names(exclude_donor or "")),
        exclude_section=tuple(opt.names(exclude_section or "")),
        level_of=tuple(opt.names(level_of or "")),
        include_own=include_own,
        device=device,
        precision=precision,
    )
    if dry_run and scheduler is not None:
        raise UsageError(f"{option('dry_run')} tells of this machine; leave {option('scheduler')} out")
    entries, lines = _entries(slides, slide_table)
    if anonymise:
        entries, console.hidden = api.without_names(entries, told)
    for line in lines:
        console.say(line)
    batch = api.prepare_batch(
        entries,
        ref,
        out,
        ref_sha256=ref_sha256,
        ref_key=ref_key,
        formats=opt.names(formats),
        gene=gene,
        options=options,
        sets=sets,
        force=force or dry_run,
        resume=resume and not dry_run,
        strict=console.strict,
        anonymise=anonymise,
        command=tuple(_command(ctx)),
        inputs=_inputs(genes, sets, slide_table),
    )
    kept = batch.options.genes
    if asked is not None and kept is not None and len(kept) < len(asked):
        console.say(f"{len(kept):,} of the {len(asked):,} genes of the sets are in {batch.bundle.name}")
    if dry_run:
        code = api.tell_estimates(batch, console)
    elif scheduler is None:
        code = api.predict_batch(batch, console)
    else:
        from bleep_cli.cluster import jobs

        code = jobs.predict_batch(batch, scheduler, console)
    if code:
        raise typer.Exit(code)


def _first(slides: Sequence[Path] | None, table: Path | None) -> str:
    """What is read first, for a person."""
    given = slides or ([table] if table is not None else [])
    more = f" and {len(given) - 1} more" if len(given) > 1 else ""
    return f"{file_text(given[0].name)}{more}" if given else "slides"


def _entries(slides: Sequence[Path] | None, table: Path | None) -> tuple[Sequence[Entry], Sequence[str]]:
    """The slides that are named, those of folders and patterns, or those of a table; and what to tell of them."""
    from bleep_cli import api

    if table is not None:
        if slides:
            raise UsageError(f"give slides, or a table of them with {option('slides')}, not both")
        return api.read_table(table), ()
    if not slides:
        raise UsageError(f"name slides, a folder of them, or a table with {option('slides')}")
    return api.list_slides(slides)


def _command(ctx: typer.Context) -> Iterator[str]:
    """The options of the command line that have a say in a result, files by their names."""
    for parameter in ctx.command.params:
        source = ctx.get_parameter_source(parameter.name or "")
        given = source is not None and source.name in ("COMMANDLINE", "ENVIRONMENT")
        if given and parameter.name not in NO_MATTER | COMMON.keys():
            yield from (parameter.opts[0], _shown(ctx.params[str(parameter.name)]))


def _shown(value: Any) -> str:
    """An option's value without the folders that it may name."""
    text = str(value)
    return file_text(Path(text).name) if isinstance(value, Path) or is_file(text) else text


def _inputs(genes: str | None, sets: Path | None, table: Path | None) -> dict[str, Path]:
    """The files beside slides and reference that no result may replace, by what they are called."""
    listed = None if genes is None or not is_file(genes) else Path(genes)
    named = {"the list of genes": listed, "the gene sets": sets, "the table": table}
    return {what: path for what, path in named.items() if path is not None}


def gene_list(genes: str | None) -> tuple[str, ...] | None:
    """``--genes``: names separated by commas, a file with one a line, or a GMT file, of whose genes those are
    meant that there are; None for all."""
    if genes is None:
        return None
    file = Path(genes)
    text = genes
    if file.suffix.lower() == ".gmt" and is_file(genes):
        from bleep_cli import api

        return api.genes_of_sets(file)
    if "," not in genes and is_file(genes):
        try:
            text, _ = read_text(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"{option('genes')} {file.name} cannot be read ({reason(error)})") from error
    names = tuple(name.strip("\"'") for name in re.split(r"[\s,;]+", text) if name.strip("\"'"))
    if not names:
        raise UsageError(f"{option('genes')} names no gene")
    return names
