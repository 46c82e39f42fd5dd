"""``bleep view``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console


def view(
    ctx: typer.Context,
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="What bleep predict wrote: .h5ad or .zarr.")],
    slide: Annotated[Path, typer.Option("--slide", help="The slide that it was predicted on.")],
    ref: opt.RefIfAny = None,
    cohort: Annotated[
        Path | None,
        typer.Option("--cohort", help="Cohort file of the reference: shows pictures of the measured spots."),
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Of the page's address; 0 takes one that is free.")
    ] = 0,
    anonymise: opt.Anonymise = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Show a slide at full resolution with its predicted genes, on this machine only, until Ctrl-C."""
    import webbrowser

    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        console.hide_files(("the result", result), ("the slide", slide), ("the cohort file", cohort))
    console.begin(f"opening {slide.name}")
    with api.view(result, slide, ref, cohort=cohort, port=port, anonymise=anonymise) as server:
        console.each({"address": server.address}, server.address)
        console.say("showing the slide in your browser; Ctrl-C ends it")
        if not no_browser:
            webbrowser.open(server.address)
        server.serve()
