"""``bleep build-reference``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.text import counted, file_text
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.findings import refuse_warnings

if TYPE_CHECKING:
    from bleep_cli.api import Built
    from bleep_cli.types import Progress


def build_reference(
    ctx: typer.Context,
    cohort: opt.Cohort,
    out: opt.NewBundle,
    encoders: opt.EncodersFolder = None,
    base: opt.Base = None,
    backbone: opt.Backbone = None,
    backbone_config: opt.BackboneConfig = None,
    only: opt.Only = None,
    genes: opt.GeneRuleOfBase = None,
    views: opt.Views = None,
    device: opt.Device = "auto",
    species: opt.Species = "",
    licence: opt.Licence = "",
    citation: opt.Citation = "",
    force: opt.Force = False,
    strict: opt.Strict = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Build a reference bundle from measured sections, or add sections to one. No training stack needed.

    Without --encoders and --base both towers are fitted to the sections themselves, in closed form.
    """
    from bleep_cli import api

    console: Console = ctx.obj
    if encoders is not None and base is not None:
        raise UsageError(
            f"the towers come from {option('encoders')} DIR or {option('base')} BUNDLE, not from both"
        )
    if encoders is not None or base is not None:
        _refuse_fitting(views=views, backbone=backbone, backbone_config=backbone_config)
    if genes is not None and base is None:
        raise UsageError(f"{option('genes')} says which genes a grown reference holds; name its {option('base')}")
    if scheduler is not None and encoders is None:
        raise UsageError(
            f"{option('scheduler')} goes with {option('encoders')}; fitting and growing are done here"
        )
    console.heed(strict=strict)
    check_free(out, force)
    console.begin(f"reading {file_text(cohort.name)} ...")
    ids = opt.names(only) if only else None
    with console.progress(cohort.name) as progress:
        if base is not None:
            built = api.grow_reference(
                base, cohort, only=ids, genes=genes or "shared", device=device, progress=progress
            )
        elif encoders is not None and scheduler is not None:
            built = _build_on(console, scheduler, cohort, encoders, ids, device, progress)
        else:
            built = api.build_reference(
                cohort,
                encoders,
                backbone=backbone,
                backbone_config=backbone_config,
                only=ids,
                views=views,
                device=device,
                progress=progress,
            )
    finish(console, api.describe(built, species=species, licence=licence, citation=citation), out, force=force)


def finish(console: Console, built: Built, out: Path, *, force: bool) -> None:
    """Tells what was noticed of a reference, refuses warnings where strict, writes it and tells of it."""
    from bleep_cli import api

    for finding in built.findings:
        console.finding(finding)
    if console.strict:
        refuse_warnings(built.findings, ReferenceError)
    api.write(built, out, force=force)
    _tell(console, built, out, api.open_bundle(out).content_sha256)


def _refuse_fitting(**given: object) -> None:
    """Raises ``UsageError`` for the first option that is given and is for towers that are fitted."""
    for name, value in given.items():
        if value is not None:
            raise UsageError(
                f"{option(name)} is for towers that are fitted here; those that are given bring their own"
            )


def _build_on(
    console: Console,
    scheduler: str,
    cohort: Path,
    folder: Path,
    only: list[str] | None,
    device: opt.Device,
    progress: Progress,
) -> Built:
    """The same with the sections embedded by the workers of a scheduler."""
    from bleep_cli import api
    from bleep_cli.cluster.jobs import image_embedder

    towers = api.load_encoders(folder)
    embed = image_embedder(console, scheduler, folder, towers, device, progress)
    return api.build_reference(cohort, towers, only=only, device=device, embed_images=embed, progress=progress)


def _tell(console: Console, built: Built, out: Path, content_sha256: str) -> None:
    spots, genes = built.arrays.expression.shape
    record = {
        "bundle": str(out),
        "content_sha256": content_sha256,
        "spots": spots,
        "genes": genes,
        "sections": [section.id for section in built.info.sections],
        "findings": [finding.plain() for finding in built.findings],
    }
    size = f"{counted(spots, 'spot')} × {counted(genes, 'gene')}"
    console.data(record, [f"{out}: {size} from {counted(len(built.info.sections), 'section')}"])
