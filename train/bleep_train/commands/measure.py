"""The commands that measure: evaluate | ablate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands.console import Console
from bleep_cli.commands.options import names
from bleep_cli.errors import UsageError
from bleep_train.commands.options import CohortArgument, SetOption, numbers
from bleep_train.config.protocols import BENCH, By, StudyProtocol
from bleep_train.config.schema import LOSSES

METHODS = "bleep,ridge,knn,mean,shuffled,shifted"
BENCH_METHODS = f"hest-ridge,{METHODS}"
MarkersOption = Annotated[str, typer.Option("--markers", help="Comma-separated marker genes: a set of their own.")]


def evaluate(
    ctx: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(metavar="RUN|BUNDLE|COHORT", help="A run folder or a bundle; a cohort for --protocol."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for tables, CSV and metrics.json.")],
    cohort: Annotated[
        Path | None, typer.Argument(metavar="COHORT", help="After RUN|BUNDLE: where the held-out sections are.")
    ] = None,
    on: Annotated[str | None, typer.Option("--on", help="RUN|BUNDLE: ids of the held-out sections.")] = None,
    k: Annotated[int | None, typer.Option("-k", help="RUN|BUNDLE: neighbours; default the bundle's.")] = None,
    views: Annotated[int | None, typer.Option("--views", help="RUN|BUNDLE: 1 or 8; default the bundle's.")] = None,
    ridge: Annotated[
        bool, typer.Option("--ridge/--no-ridge", help="RUN|BUNDLE: ridge on the frozen features beside it.")
    ] = True,
    protocol: Annotated[
        StudyProtocol | None, typer.Option("--protocol", help="COHORT alone: train and predict every fold.")
    ] = None,
    test: Annotated[
        str | None, typer.Option("--test", help="COHORT alone: only the folds of these names.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option("--methods", help=f"COHORT alone; external:FILE scores a file. Default {METHODS}."),
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="COHORT alone; default 0,1,2.")] = None,
    config: Annotated[
        str | None, typer.Option("--config", help="COHORT alone: preset or TOML file; default default.")
    ] = None,
    set_: SetOption = None,
    markers: MarkersOption = "",
) -> None:
    """Predict held-out sections and compare with the measurement and with baselines.

    RUN|BUNDLE COHORT --on IDS: what a trained reference makes of them, through the runtime.
    COHORT --protocol NAME: train every method on each fold; a stopped study goes on from what is in -o.
    """
    console: Console = ctx.obj
    whole = {"--test": test, "--methods": methods, "--seeds": seeds, "--config": config, "--set": set_ or None}
    one = {"--on": on, "-k": k, "--views": views, "--no-ridge": None if ridge else True}
    if cohort is None:
        _refuse(one, "needs RUN|BUNDLE COHORT; one argument is a COHORT that is evaluated with --protocol")
        if protocol is None:
            raise UsageError("--protocol is missing for COHORT alone; RUN|BUNDLE COHORT goes with --on")
        _study(
            console, source, out, protocol, names(test or ""),
            names(methods or (BENCH_METHODS if protocol == BENCH else METHODS)),
            numbers(seeds or "0,1,2"), config or "default", set_ or (), names(markers),
        )  # fmt: skip
        return
    _refuse({"--protocol": protocol, **whole}, "trains on a COHORT alone; RUN|BUNDLE COHORT goes with --on")
    if on is None:
        raise UsageError("--on is missing: it names the held-out sections of the cohort")
    _bundle(console, source, cohort, names(on), out, k, views, names(markers), ridge)


def _refuse(options: Mapping[str, object], why: str) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{', '.join(given)} {why}")


def _study(
    console: Console,
    cohort: Path,
    out: Path,
    protocol: StudyProtocol,
    test: Sequence[str],
    methods: Sequence[str],
    seeds: Sequence[int],
    config: str,
    settings: Sequence[str],
    markers: Sequence[str],
) -> None:
    from bleep_train.commands.show import show
    from bleep_train.config.toml import load_config
    from bleep_train.methods.external import split_external
    from bleep_train.study.plan import StudyPlan
    from bleep_train.study.run import run_study
    from bleep_train.study.tables import StudyTables

    listed, files = split_external(methods)
    plan = StudyPlan(protocol, listed, tuple(seeds), tuple(test), tuple(markers), files)
    with console.progress("evaluate") as progress:
        result = run_study(cohort, load_config(config, settings), plan, out, progress=progress)
    tables = StudyTables(result, out)
    tables.write()
    show(tables.main(), console)


def _bundle(
    console: Console,
    source: Path,
    cohort: Path,
    on: Sequence[str],
    out: Path,
    k: int | None,
    views: int | None,
    markers: Sequence[str],
    ridge: bool,
) -> None:
    from bleep_cli.prediction.options import PredictOptions
    from bleep_train.commands.show import show
    from bleep_train.runs.export import BUNDLE, CACHE, export_run
    from bleep_train.runs.record import RECORD, open_run
    from bleep_train.study.bundle import evaluate as run_evaluation

    is_run = (source / RECORD).is_file()
    bundle = source / BUNDLE if is_run else source
    with console.progress("evaluate") as progress:
        if is_run and _stale(source, bundle):
            export_run(open_run(source), bundle, force=True, progress=progress)
        evaluation = run_evaluation(
            bundle,
            cohort,
            on,
            out,
            cache=(source if is_run else out) / CACHE,
            options=PredictOptions(k=k, views=views),
            markers=markers,
            with_ridge=ridge,
            progress=progress,
        )
    show(evaluation.tables, console)


def ablate(
    ctx: typer.Context,
    cohort: CohortArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder; a stopped grid goes on from what is in it.")],
    config: Annotated[
        str, typer.Option("--config", help="Preset or TOML file that everything else is kept at.")
    ] = "default",
    losses: Annotated[str, typer.Option("--losses", help="Objectives.")] = ",".join(LOSSES),
    ks: Annotated[str, typer.Option("-k", help="Neighbours.")] = "10,50,100",
    seeds: Annotated[str, typer.Option("--seeds")] = "0,1,2",
    by: Annotated[By, typer.Option("--by", help="Leave out one section, or one donor, at a time.")] = "section",
    test: Annotated[str, typer.Option("--test", help="Only the folds of these names.")] = "",
    set_: SetOption = None,
    markers: MarkersOption = "",
) -> None:
    """The paper's ablation table on any cohort: objective × K × aggregation × key, beside ridge."""
    from bleep_train.commands.show import show
    from bleep_train.config.toml import load_config
    from bleep_train.study.ablate import AblationGrid, run_grid

    unknown = set(names(losses)) - set(LOSSES)
    if unknown:
        raise UsageError(f"--losses {', '.join(sorted(unknown))}: choose among {', '.join(LOSSES)}")
    chosen = tuple(name for name in LOSSES if name in names(losses))
    grid = AblationGrid(
        losses=chosen,
        ks=tuple(numbers(ks)),
        seeds=tuple(numbers(seeds)),
        by=by,
        markers=tuple(names(markers)),
        test=tuple(names(test)),
    )
    console: Console = ctx.obj
    with console.progress("ablate") as progress:
        table = run_grid(cohort, load_config(config, set_ or ()), grid, out, progress=progress)
    show([table], console)


def _stale(run: Path, bundle: Path) -> bool:
    """Whether the run was trained on since its bundle was exported."""
    from bleep_train.training.checkpoint import CHECKPOINT

    checkpoint = run / CHECKPOINT
    if not (bundle.exists() and checkpoint.exists()):
        return True
    return bundle.stat().st_mtime < checkpoint.stat().st_mtime
