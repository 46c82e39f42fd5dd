"""``bleep predict``."""

from __future__ import annotations

from pathlib import Path

import typer

from bleep_cli.commands import options as opt
from bleep_cli.errors import UsageError


def predict(
    ctx: typer.Context,
    slides: opt.Slides,
    ref: opt.Ref,
    out: opt.Out = Path(),
    formats: opt.Formats = "h5ad,png",
    genes: opt.Genes = None,
    gene: opt.Gene = None,
    k: opt.K = None,
    aggregation: opt.Aggregation = opt.AggregationChoice.average,
    temperature: opt.Temperature = None,
    key: opt.Key = None,
    views: opt.Views = None,
    mpp: opt.Mpp = None,
    stride_um: opt.StrideUm = None,
    min_tissue: opt.MinTissue = 0.5,
    mask: opt.Mask = None,
    at: opt.At = None,
    device: opt.Device = opt.DeviceChoice.auto,
    precision: opt.Precision = opt.PrecisionChoice.auto,
    dry_run: opt.DryRun = False,
    resume: opt.Resume = False,
    force: opt.Force = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Predict spatial gene expression on one or more slides."""
    from bleep_cli.batch import arguments
    from bleep_cli.batch import run as batch
    from bleep_cli.batch.resume import check_resumable, identity
    from bleep_cli.bundle.open import open_bundle
    from bleep_cli.prediction.impute import WEIGHTED_TEMPERATURE
    from bleep_cli.prediction.options import PredictOptions

    options = PredictOptions(
        mpp=mpp,
        stride_um=stride_um,
        min_tissue=min_tissue,
        at=at,
        mask=mask,
        genes=arguments.gene_list(genes),
        k=k,
        aggregation=aggregation.value,
        temperature=WEIGHTED_TEMPERATURE if temperature is None else temperature,
        key=key.value if key else None,
        views=views,
        device=device.value,
        precision=precision.value,
    )
    if scheduler is not None and dry_run:
        raise UsageError("--dry-run tells of this machine; leave --scheduler out")
    if at is not None and len(slides) > 1:
        raise UsageError("--at holds the positions of one slide; give one slide")
    bundle = open_bundle(ref)
    if dry_run:
        batch.dry_run(ctx.obj, slides, bundle, options)
        return
    chosen = arguments.parse_formats(formats)
    if resume:
        check_resumable(chosen)
    shown = None if gene is None else arguments.shown_gene(bundle, gene, options.genes)
    run = batch.Run(bundle, options, shown, force, identity(bundle, options) if resume else None)
    targets = batch.output_targets(slides, out, chosen, run)
    if scheduler is None:
        code = batch.predict_slides(ctx.obj, targets, run)
    else:
        from bleep_cli.cluster import jobs as cluster_jobs

        code = cluster_jobs.predict_slides(ctx.obj, scheduler, ref, targets, run)
    if code:
        raise typer.Exit(code)
