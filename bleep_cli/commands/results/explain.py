"""``bleep explain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console


def explain(
    ctx: typer.Context,
    result: Annotated[Path, typer.Argument(help="A result of bleep predict: .h5ad or .zarr.")],
    ref: opt.Ref,
    tile: Annotated[str, typer.Option("--tile", help="Id of the tile, as in obs_names of the result.")],
    gene: Annotated[str, typer.Option("--gene", help="Comma-separated symbols or ids.")],
    without_donor: Annotated[
        str | None,
        typer.Option(
            "--without-donor", help="Comma-separated donors: what the other listed spots would have said."
        ),
    ] = None,
    anonymise: opt.Anonymise = False,
) -> None:
    """Show where a value comes from: the measured spots behind a tile, and the value computed again from them."""
    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        console.hide_files(("the result", result), names={tile: "the tile"})
    left_out = opt.names(without_donor) if without_donor else ()
    found = api.explain(result, ref, tile, opt.names(gene), without_donors=left_out, anonymise=anonymise)
    lines = [line for receipt in found for line in (*receipt.lines(), "")]
    console.data({"receipts": [receipt.plain() for receipt in found]}, lines[:-1])
