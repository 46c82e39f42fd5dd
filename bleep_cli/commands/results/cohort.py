"""``bleep cohort``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli import choices
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list


def cohort(
    ctx: typer.Context,
    results: Annotated[list[Path], typer.Argument(metavar="RESULTS...", help="What bleep predict wrote.")],
    groups: Annotated[
        Path, typer.Option("--groups", help="Table with the columns slide, patient, group, and perhaps region.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the tables and the page.")],
    regions: Annotated[
        list[Path] | None,
        typer.Option("--regions", help="GeoJSON named after its slide, classes are regions; a file or a folder."),
    ] = None,
    sets: Annotated[Path | None, typer.Option("--sets", help="Gene sets, a GMT file.")] = None,
    genes: Annotated[
        str | None,
        typer.Option("--genes", help="What is tested: comma-separated symbols or ids, or a file; default all."),
    ] = None,
    above: Annotated[float, typer.Option("--above", help="Value (log1p) that tiles are counted above.")] = 1.0,
    origin: Annotated[
        choices.Plane,
        typer.Option("--origin", help="What --regions count from: the slide's corner, or its scanned part's."),
    ] = "auto",
    permutations: Annotated[
        int, typer.Option("--permutations", help="All are looked at up to this many, else so many random ones.")
    ] = 10_000,
    seed: Annotated[int, typer.Option("--seed", help="Of random ones.")] = 0,
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
) -> None:
    """Compare groups of patients, or regions within them, by the results of their slides."""
    from bleep_cli import api

    console: Console = ctx.obj
    if anonymise:
        named = [("a result", result) for result in results] + [("regions", path) for path in regions or ()]
        console.hide_files(("the table of groups", groups), *named)
    with console.progress("cohort") as report:
        compared = api.compare_groups(
            results,
            groups,
            out,
            regions=regions or (),
            sets=sets,
            genes=gene_list(genes),
            above=above,
            origin=origin,
            permutations=permutations,
            seed=seed,
            anonymise=anonymise,
            strict=console.strict,
            force=force,
            progress=report,
        )
    for finding in compared.findings:
        console.finding(finding)
    console.data(compared.record(), compared.lines())
