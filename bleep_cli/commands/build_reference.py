"""``bleep build-reference``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.errors import UsageError

if TYPE_CHECKING:
    from bleep_cli.reference.parts import Built


def build_reference(
    ctx: typer.Context,
    cohort: opt.Cohort,
    out: opt.NewBundle,
    encoders: opt.EncodersFolder = None,
    base: opt.Base = None,
    only: opt.Only = None,
    device: opt.Device = opt.DeviceChoice.auto,
    force: opt.Force = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Build a reference bundle from measured sections, or add sections to one. No training stack needed."""
    from bleep_cli.base.atomic import check_free
    from bleep_cli.bundle.encoders_folder import load_encoders
    from bleep_cli.bundle.open import open_bundle
    from bleep_cli.cohort.read import read_cohort
    from bleep_cli.reference.build import build_reference as build
    from bleep_cli.reference.grow import grow_reference

    console: Console = ctx.obj
    check_build_options(encoders, base)
    if scheduler is not None and encoders is None:
        raise UsageError("--scheduler goes with --encoders; a bundle grows here, without it")
    check_free(out, force)
    with console.progress(cohort.name) as progress:
        if base is not None:
            opened = open_bundle(base)
            sections = read_cohort(cohort, only=_ids(only), progress=progress)
            built = grow_reference(opened, sections, device=device.value, progress=progress)
        else:
            towers = load_encoders(encoders or Path())
            sections = read_cohort(cohort, only=_ids(only), progress=progress)
            embed = None
            if scheduler is not None:
                from bleep_cli.cluster.jobs import image_embedder

                embed = image_embedder(console, scheduler, encoders or Path(), towers, device.value, progress)
            built = build(sections, towers, device=device.value, embed_images=embed, progress=progress)
    _write_built(console, built, out, force)


def _ids(only: str | None) -> list[str] | None:
    return [name.strip() for name in only.split(",") if name.strip()] if only else None


def _write_built(console: Console, built: Built, out: Path, force: bool) -> None:
    from bleep_cli.bundle.write import write_bundle

    sha256 = write_bundle(out, built.info, built.arrays, force=force)
    for note in built.notes:
        console.say(f"note: {note}")
    spots, genes = built.arrays.expression.shape
    record = {
        "bundle": str(out),
        "content_sha256": sha256,
        "spots": spots,
        "genes": genes,
        "sections": [section.id for section in built.info.sections],
        "notes": list(built.notes),
    }
    console.data(record, [f"{out}: {spots} spots × {genes} genes from {len(built.info.sections)} sections"])


def check_build_options(encoders: Path | None, base: Path | None) -> None:
    """Exactly one of the two sources of towers."""
    if (encoders is None) == (base is None):
        raise UsageError("give the towers by exactly one of --encoders DIR and --base BUNDLE")
