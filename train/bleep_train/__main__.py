"""The ``bleep-train`` command: phantom | train | export | evaluate | ablate."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from bleep_cli import __version__
from bleep_cli.console import Console
from bleep_cli.errors import BleepError, UsageError

app = typer.Typer(
    name="bleep-train",
    help="Learn BLEEP encoders, export them to ONNX, pack references, evaluate.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

CohortArgument = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort file (TOML) with the sections.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace what exists already.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"bleep-train {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, verbose=verbose)


@app.command()
def phantom(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the sections and their cohort.toml.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same sections.")] = 0,
    donors: Annotated[str, typer.Option("--donors", help="Comma-separated donor names.")] = "P1,P2,P3",
    sections: Annotated[int, typer.Option("--sections", help="Sections of each donor.")] = 1,
    size_um: Annotated[
        tuple[float, float], typer.Option("--size-um", help="Width and height of a section in µm.")
    ] = (2400.0, 1800.0),
) -> None:
    """Make synthetic liver sections: H&E-like slides and Space Ranger folders with a known truth."""
    from bleep_train.phantom import write_phantom_cohort

    console: Console = ctx.obj
    with console.progress("phantom") as progress:
        cohort = write_phantom_cohort(
            out, seed, donors=_names(donors), sections_per_donor=sections, size_um=size_um, progress=progress
        )
    print(f"{cohort}: synthetic sections of donors {donors}")


@app.command(name="demo-artifacts", hidden=True)
def demo_artifacts(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="The artifacts folder.")],
) -> None:
    """Make the demo bundle and slide that the project ships."""
    from bleep_train.demo_artifacts import make_demo_artifacts

    console: Console = ctx.obj
    with console.progress("artifacts") as progress:
        card = make_demo_artifacts(out, progress=progress)
    print(f"{out}: median r {card['median_r']} on the query slide")


@app.command()
def train(
    ctx: typer.Context,
    cohort: CohortArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder.")],
    config: Annotated[
        str, typer.Option("--config", help="Preset (paper, default, tiny) or a TOML file.")
    ] = "default",
    hold_out: Annotated[str, typer.Option("--hold-out", help="Comma-separated section ids to leave out.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value, such as optim.seed=1; repeatable.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop when the embedding collapses.")] = False,
    force: ForceOption = False,
) -> None:
    """Train both towers on a cohort."""
    from bleep_train.config import load_config
    from bleep_train.run import summary, train_run

    console: Console = ctx.obj
    resolved = load_config(config, set_ or ())
    with console.progress("train") as progress:
        trained = train_run(
            cohort,
            resolved,
            out,
            held_out=_names(hold_out),
            resume=resume,
            force=force,
            strict=strict,
            progress=progress,
        )
    if not trained.leads:
        return
    for warning in trained.warnings:
        console.say(f"warning: {warning}")
    told = summary(trained.data)
    for note in told["notes"]:
        console.say(f"note: {note}")
    print(
        f"{out}: trained on {told['spots']} spots of sections {', '.join(told['sections'])} "
        f"(donors {', '.join(told['donors'])}), panel of {told['panel']} genes"
    )


@app.command()
def export(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of bleep-train train.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle, .zarr or .zarr.zip.")],
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store tower weights as float16: half the size.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Export both towers to ONNX, check them against torch, and pack the reference bundle."""
    from bleep_train.run import export_run, open_run

    console: Console = ctx.obj
    with console.progress("export") as progress:
        built, parity, sha256 = export_run(
            open_run(run), out, half_weights=half_weights, force=force, progress=progress
        )
    for note in built.notes:
        console.say(f"note: {note}")
    spots, genes = built.arrays.expression.shape
    print(
        f"{out}: {spots} spots × {genes} genes, {sha256[:12]}\n"
        f"torch against ONNX Runtime: |Δ| {parity.image_delta:.1e} (image), {parity.expression_delta:.1e} "
        f"(expression), {parity.neighbours:.1%} of the {built.info.k} neighbours agree"
    )


@app.command()
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
            _names(on),
            out,
            cache=(source if is_run else out) / CACHE,
            options=PredictOptions(k=k, views=views),
            markers=_names(markers),
            with_ridge=ridge,
            progress=progress,
        )
    print("\n".join(evaluation.lines))


@app.command()
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
    by: Annotated[str, typer.Option("--by", help="Leave out one section, or one donor, at a time.")] = "section",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")] = None,
) -> None:
    """The paper's ablation table on any cohort: objective × K × aggregation × key, beside ridge."""
    from bleep_train.ablate import Grid, run_grid
    from bleep_train.config import LOSSES, load_config

    if by not in ("section", "donor"):
        raise UsageError(f"--by {by}: choose section or donor")
    unknown = set(_names(losses)) - set(LOSSES)
    if unknown:
        raise UsageError(f"--losses {', '.join(sorted(unknown))}: choose among {', '.join(LOSSES)}")
    chosen = tuple(name for name in LOSSES if name in _names(losses))
    grid = Grid(losses=chosen, ks=tuple(_numbers(ks)), seeds=tuple(_numbers(seeds)), by=by)
    console: Console = ctx.obj
    with console.progress("ablate") as progress:
        lines = run_grid(cohort, load_config(config, set_ or ()), grid, out, progress=progress)
    print("\n".join(lines))


def _numbers(text: str) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError as error:
        raise UsageError(f"{text}: whole numbers separated by commas are needed") from error


def _stale(run: Path, bundle: Path) -> bool:
    """Whether the run was trained on since its bundle was exported."""
    from bleep_train.loop import CHECKPOINT

    checkpoint = run / CHECKPOINT
    if not (bundle.exists() and checkpoint.exists()):
        return True
    return bundle.stat().st_mtime < checkpoint.stat().st_mtime


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def main() -> NoReturn:
    """Entry point of the console script."""
    verbose = any(flag in sys.argv[1:] for flag in ("-v", "--verbose"))
    if not verbose:
        warnings.filterwarnings("ignore")  # third-party deprecations are not the user's business
    try:
        app()
    except BleepError as error:
        print(f"bleep-train: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("bleep-train: interrupted; go on with --resume", file=sys.stderr)
        sys.exit(130)
    except (ValueError, RuntimeError) as error:
        if verbose:
            raise
        print(f"bleep-train: {error}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
