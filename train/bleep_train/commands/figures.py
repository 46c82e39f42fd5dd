"""The command that draws: figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands.console import Console
from bleep_cli.commands.options import names
from bleep_train.commands.options import ForceOption
from bleep_train.figures.style import FIGURES, Format


def figures(
    ctx: typer.Context,
    study: Annotated[
        Path, typer.Argument(metavar="STUDY", help="Folder that evaluate --protocol wrote with its -o.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the figures.")],
    fold: Annotated[str | None, typer.Option("--fold", help="Fold; default the first.")] = None,
    section: Annotated[
        str | None, typer.Option("--section", help="Section of the fold; default its first.")
    ] = None,
    methods: Annotated[
        str, typer.Option("--methods", help="Comma-separated; default all. Four fit the width of a page.")
    ] = "",
    gene: Annotated[
        list[str] | None,
        typer.Option("--gene", help="Gene of figure 3; repeatable. Default BLEEP's best of HVG50."),
    ] = None,
    only: Annotated[str, typer.Option("--only", help="Figures of the paper, S its UMAP.")] = ",".join(FIGURES),
    form: Annotated[Format, typer.Option("--format", help="File format.")] = "png",
    dpi: Annotated[int, typer.Option("--dpi", help="Pixels per inch, of pictures inside PDF and SVG too.")] = 200,
    cohort: Annotated[
        Path | None, typer.Option("--cohort", help="The study's cohort file, if it has moved.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Draw the paper's figures from a study's predictions: every method beside the measurement."""
    from bleep_train.figures.write import FigureOptions, write_figures

    options = FigureOptions(
        fold=fold,
        section=section,
        methods=tuple(names(methods)),
        genes=tuple(gene or ()),
        only=tuple(names(only)),
        form=form,
        dpi=dpi,
        cohort=cohort,
    )
    console: Console = ctx.obj
    with console.progress("figures") as progress:
        paths = write_figures(study, out, options, force=force, progress=progress)
    console.data({"figures": [str(path) for path in paths]}, [str(path) for path in paths])
