"""``bleep reference``: a bundle that grows, shrinks, is signed. Each command makes something, none changes one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.text import file_text
from bleep_cli.commands import options as opt
from bleep_cli.commands.build_reference import finish
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list
from bleep_cli.commands.program import add_command, new_app
from bleep_cli.errors import UsageError, option

app = new_app("reference", "Add sections to a reference bundle, leave some out, or merge bundles.")


def add(
    ctx: typer.Context,
    bundle: opt.Bundle,
    cohort: opt.Cohort,
    out: opt.NewBundle,
    only: opt.Only = None,
    genes: opt.GeneRule = "shared",
    device: opt.Device = "auto",
    species: opt.Species = "",
    licence: opt.Licence = "",
    citation: opt.Citation = "",
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Add the sections of a cohort to a bundle, embedded by its own towers."""
    from bleep_cli import api

    console: Console = ctx.obj
    console.heed(strict=strict)
    check_free(out, force)
    console.begin(f"reading {file_text(cohort.name)} ...")
    ids = opt.names(only) if only else None
    with console.progress(cohort.name) as progress:
        built = api.grow_reference(bundle, cohort, only=ids, genes=genes, device=device, progress=progress)
    finish(console, api.describe(built, species=species, licence=licence, citation=citation), out, force=force)


def remove(
    ctx: typer.Context,
    bundle: opt.Bundle,
    out: opt.NewBundle,
    donor: opt.RemovedDonor = None,
    section: opt.RemovedSection = None,
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Leave donors or sections out of a bundle. Its towers stay what they are, whomever they were fitted to."""
    from bleep_cli import api

    if donor is None and section is None:
        raise UsageError(f"name a {option('donor')} or a {option('section')} to leave out")
    console = _begin(ctx, out, force=force, strict=strict)
    names = {"without_donors": opt.names(donor or ""), "without_sections": opt.names(section or "")}
    with console.progress(bundle.name) as progress:
        built = api.shrink_reference(bundle, **names, progress=progress)
    finish(console, built, out, force=force)


def subset(
    ctx: typer.Context,
    bundle: opt.Bundle,
    out: opt.NewBundle,
    genes: opt.Genes = None,
    donors: opt.Donors = None,
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Keep some donors of a bundle alone, or some genes and those that its towers need."""
    from bleep_cli import api

    if genes is None and donors is None:
        raise UsageError(f"name {option('genes')} or {option('donors')} to keep")
    console = _begin(ctx, out, force=force, strict=strict)
    kept = None if donors is None else opt.names(donors)
    with console.progress(bundle.name) as progress:
        built = api.shrink_reference(bundle, donors=kept, genes=gene_list(genes), progress=progress)
    finish(console, built, out, force=force)


def merge(
    ctx: typer.Context,
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE...", help="Two bundles or more of one pair of towers.")
    ],
    out: opt.NewBundle,
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Make one bundle of several that have the same towers, such as two that grew from one."""
    from bleep_cli import api

    console = _begin(ctx, out, force=force, strict=strict)
    with console.progress(bundles[0].name) as progress:
        built = api.merge_references(bundles, progress=progress)
    finish(console, built, out, force=force)


def sign(
    ctx: typer.Context,
    bundle: opt.Bundle,
    key: Annotated[
        Path,
        typer.Option(
            "--key",
            help="Private key of OpenSSH, or the public one (.pub) of one that an agent or a token holds.",
        ),
    ],
    force: opt.Force = False,
) -> None:
    """Sign a bundle: read and hash all of it, and write BUNDLE.sig beside it, by ssh-keygen."""
    from bleep_cli import api

    console: Console = ctx.obj
    console.begin(f"reading {file_text(bundle.name)} ...")
    signed = api.sign_reference(bundle, key, force=force)
    name = signed.signature.name
    record = {"signature": name, "content_sha256": signed.content_sha256, "signed_by": signed.signed_by}
    console.data(record, [f"signature {name}, of {signed.content_sha256[:12]} by {signed.signed_by}"])


def _begin(ctx: typer.Context, out: Path, *, force: bool, strict: bool) -> Console:
    console: Console = ctx.obj
    console.heed(strict=strict)
    check_free(out, force)
    return console


for command in (add, remove, subset, merge, sign):
    add_command(app, command)
