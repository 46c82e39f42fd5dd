"""``bleep predict``."""

from __future__ import annotations

import re
from pathlib import Path

import typer

from bleep_cli import choices
from bleep_cli.base.reasons import reason
from bleep_cli.base.text_table import read_text
from bleep_cli.commands import options as opt
from bleep_cli.errors import UsageError, option


def predict(
    ctx: typer.Context,
    slides: opt.Slides,
    ref: opt.Ref,
    out: opt.Out = Path(),
    formats: opt.Formats = "h5ad,png",
    genes: opt.Genes = None,
    gene: opt.Gene = None,
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
    device: opt.Device = "auto",
    precision: opt.Precision = "auto",
    dry_run: opt.DryRun = False,
    resume: opt.Resume = False,
    force: opt.Force = False,
    strict: opt.Strict = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Predict spatial gene expression on one or more slides."""
    from bleep_cli import api

    options = api.PredictOptions(
        mpp=mpp,
        scene=scene,
        stride_um=stride_um,
        min_tissue=min_tissue,
        at=at,
        mask=mask,
        mask_class=tuple(opt.names(mask_class or "")),
        origin=origin,
        genes=gene_list(genes),
        k=k,
        aggregation=aggregation,
        temperature=temperature,
        key=key,
        views=views,
        device=device,
        precision=precision,
    )
    if dry_run:
        if scheduler is not None:
            raise UsageError(f"{option('dry_run')} tells of this machine; leave {option('scheduler')} out")
        api.tell_estimates(slides, ref, options, ctx.obj)
        return
    batch = api.prepare_batch(
        slides,
        ref,
        out,
        formats=opt.names(formats),
        gene=gene,
        options=options,
        force=force,
        resume=resume,
        strict=strict,
    )
    if scheduler is None:
        code = api.predict_batch(batch, ctx.obj)
    else:
        from bleep_cli.cluster import jobs

        code = jobs.predict_batch(batch, scheduler, ctx.obj)
    if code:
        raise typer.Exit(code)


def gene_list(genes: str | None) -> tuple[str, ...] | None:
    """``--genes``: names separated by commas, or a file with one a line; None for all."""
    if genes is None:
        return None
    file = Path(genes)
    text = genes
    if "," not in genes and file.is_file():
        try:
            text, _ = read_text(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"{option('genes')} {file.name} cannot be read ({reason(error)})") from error
    names = tuple(name.strip("\"'") for name in re.split(r"[\s,;]+", text) if name.strip("\"'"))
    if not names:
        raise UsageError(f"{option('genes')} names no gene")
    return names
