"""``bleep report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list


def report(
    ctx: typer.Context,
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="What bleep predict wrote: .h5ad or .zarr.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The page; default RESULT with the ending .html.")
    ] = None,
    genes: Annotated[
        str | None,
        typer.Option(
            "--genes",
            help="Comma-separated symbols or ids, or a file: one a line, or gene sets (.gmt); default those that "
            "vary most.",
        ),
    ] = None,
    sets: opt.Sets = None,
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
) -> None:
    """Make one HTML page of a result: maps over the slide, its reference, what was noticed. Needs no network."""
    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        console.hide_files(("the result", result))
    page = api.report(result, out, genes=gene_list(genes), sets=sets, force=force, anonymise=anonymise)
    name = page.name if anonymise else str(page)
    size = page.stat().st_size
    console.data({"page": name, "bytes": size}, [f"page {name} ({size / 1e6:.1f} MB)"])
