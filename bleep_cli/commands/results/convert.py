"""``bleep convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list


def convert(
    ctx: typer.Context,
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="What bleep predict wrote: .h5ad or .zarr.")],
    formats: Annotated[str, typer.Option("--format", help=opt.FORMATS)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder; default that of RESULT.")] = None,
    genes: opt.Genes = None,
    sets: opt.Sets = None,
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
) -> None:
    """Write a result in other formats: for SpatialData, QuPath, R, a spreadsheet. No new prediction."""
    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        console.hide_files(("the result", result))
    with console.progress(result.name) as progress:
        written = api.convert(
            result,
            opt.names(formats),
            out,
            genes=gene_list(genes),
            sets=sets,
            force=force,
            anonymise=anonymise,
            tell=console.finding,
            progress=progress,
        )
    files = [path.name if anonymise else str(path) for path in written]  # a folder may be called by a name, too
    console.data({"files": files}, files)
