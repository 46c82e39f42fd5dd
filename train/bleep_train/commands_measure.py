"""The commands that measure: evaluate | ablate."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.console import Console
from bleep_cli.errors import UsageError
from bleep_train.options import CohortArgument, SetOption, names, numbers


class ByChoice(str, Enum):
    """--by"""

    section = "section"
    donor = "donor"


def evaluate(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder, or a bundle.")],
    cohort: CohortArgument,
    on: Annotated[str, typer.Option("--on", help="Comma-separated ids of the held-out sections.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for table, CSV and metrics.json.")],
    k: Annotated[int | None, typer.Option("-k", help="Neighbours; default the bundle's.")] = None,
    views: Annotated[int | None, typer.Option("--views", help="1 or 8; default the bundle's.")] = None,
    markers: Annotated[str, typer.Option("--markers", help="Comma-separated marker genes.")] = "",
    ridge: Annotated[
        bool, typer.Option("--ridge/--no-ridge", help="Ridge on the frozen features beside it.")
    ] = True,
) -> None:
    """Predict held-out sections through the runtime and compare with the measurement and with baselines."""
    from bleep_cli.predict import PredictOptions
    from bleep_train.evaluate import evaluate as run_evaluation
    from bleep_train.run import BUNDLE, CACHE, RECORD, export_run, open_run

    console: Console = ctx.obj
    is_run = (source / RECORD).is_file()
    bundle = source / BUNDLE if is_run else source
    with console.progress("evaluate") as progress:
        if is_run and _stale(source, bundle):
            export_run(open_run(source), bundle, force=True, progress=progress)
        evaluation = run_evaluation(
            bundle,
            cohort,
            names(on),
            out,
            cache=(source if is_run else out) / CACHE,
            options=PredictOptions(k=k, views=views),
            markers=names(markers),
            with_ridge=ridge,
            progress=progress,
        )
    print("\n".join(evaluation.lines))


def ablate(
    ctx: typer.Context,
    cohort: CohortArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder; a stopped grid goes on from what is in it.")],
    config: Annotated[
        str, typer.Option("--config", help="Preset or TOML file that everything else is kept at.")
    ] = "default",
    losses: Annotated[str, typer.Option("--losses", help="Objectives.")] = "paper,clip,unit,pre,mixed",
    ks: Annotated[str, typer.Option("-k", help="Neighbours.")] = "10,50,100",
    seeds: Annotated[str, typer.Option("--seeds")] = "0,1,2",
    by: Annotated[
        ByChoice, typer.Option("--by", help="Leave out one section, or one donor, at a time.")
    ] = ByChoice.section,
    set_: SetOption = None,
) -> None:
    """The paper's ablation table on any cohort: objective × K × aggregation × key, beside ridge."""
    from bleep_train.ablate import Grid, run_grid
    from bleep_train.config import LOSSES, load_config

    unknown = set(names(losses)) - set(LOSSES)
    if unknown:
        raise UsageError(f"--losses {', '.join(sorted(unknown))}: choose among {', '.join(LOSSES)}")
    chosen = tuple(name for name in LOSSES if name in names(losses))
    grid = Grid(losses=chosen, ks=tuple(numbers(ks)), seeds=tuple(numbers(seeds)), by=by.value)
    console: Console = ctx.obj
    with console.progress("ablate") as progress:
        lines = run_grid(cohort, load_config(config, set_ or ()), grid, out, progress=progress)
    print("\n".join(lines))


def _stale(run: Path, bundle: Path) -> bool:
    """Whether the run was trained on since its bundle was exported."""
    from bleep_train.loop import CHECKPOINT

    checkpoint = run / CHECKPOINT
    if not (bundle.exists() and checkpoint.exists()):
        return True
    return bundle.stat().st_mtime < checkpoint.stat().st_mtime
