"""``bleep plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli import choices
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list


def plot(
    ctx: typer.Context,
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="What bleep predict wrote: .h5ad or .zarr.")],
    genes: Annotated[
        str, typer.Option("--genes", help="Comma-separated symbols or ids, or a file with one a line.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The figure: .png, .svg or .pdf.")],
    scale: Annotated[
        choices.Scale, typer.Option("--scale", help="What colours span: each gene's values, or those of all.")
    ] = "free",
    opacity: Annotated[float, typer.Option("--opacity", help="Of the tiles over the slide, up to 1.")] = 0.8,
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
) -> None:
    """Draw genes of a result in a grid, as translucent tiles over the slide: a figure for print."""
    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        console.hide_files(("the result", result))
    chosen = gene_list(genes) or ()
    api.plot(result, chosen, out, scale=scale, opacity=opacity, force=force, anonymise=anonymise)
    name = out.name if anonymise else str(out)
    console.data({"figure": name, "genes": list(chosen)}, [f"figure {name}"])
