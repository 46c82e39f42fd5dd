"""The ``bleep`` command: parse, call, render, exit code. Heavy imports stand inside the commands."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from bleep_cli import __version__, privacy
from bleep_cli import options as opt
from bleep_cli.console import Console
from bleep_cli.errors import BleepError, SlideError, UsageError

if TYPE_CHECKING:
    from bleep_cli.reference import Built

INTERRUPTED = 130
BUG = 1

app = typer.Typer(
    name="bleep",
    help="Spatial gene expression from an H&E slide, offline. Research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bleep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    ctx: typer.Context,
    json_: Annotated[bool, typer.Option("--json", help="Print results as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No messages, no progress.")] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the traceback of a bug.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    ctx.obj = Console(quiet=quiet, verbose=verbose, as_json=json_)


@app.command()
def predict(
    ctx: typer.Context,
    slides: opt.Slides,
    ref: opt.Ref,
    out: opt.Out = Path(),
    formats: opt.Formats = "h5ad,png",
    genes: opt.Genes = None,
    gene: opt.Gene = None,
    k: opt.K = None,
    aggregation: opt.Aggregation = opt.AggregationChoice.average,
    temperature: opt.Temperature = None,
    key: opt.Key = None,
    views: opt.Views = None,
    mpp: opt.Mpp = None,
    stride_um: opt.StrideUm = None,
    min_tissue: opt.MinTissue = 0.5,
    mask: opt.Mask = None,
    at: opt.At = None,
    device: opt.Device = opt.DeviceChoice.auto,
    precision: opt.Precision = opt.PrecisionChoice.auto,
    dry_run: opt.DryRun = False,
    resume: opt.Resume = False,
    force: opt.Force = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Predict spatial gene expression on one or more slides."""
    from bleep_cli import batch
    from bleep_cli.bundle import open_bundle
    from bleep_cli.impute import WEIGHTED_TEMPERATURE
    from bleep_cli.predict import PredictOptions
    from bleep_cli.results import check_resumable, identity

    options = PredictOptions(
        mpp=mpp,
        stride_um=stride_um,
        min_tissue=min_tissue,
        at=at,
        mask=mask,
        genes=batch.gene_list(genes),
        k=k,
        aggregation=aggregation.value,
        temperature=WEIGHTED_TEMPERATURE if temperature is None else temperature,
        key=key.value if key else None,
        views=views,
        device=device.value,
        precision=precision.value,
    )
    if scheduler is not None and dry_run:
        raise UsageError("--dry-run tells of this machine; leave --scheduler out")
    if at is not None and len(slides) > 1:
        raise UsageError("--at holds the positions of one slide; give one slide")
    bundle = open_bundle(ref)
    if dry_run:
        batch.dry_run(ctx.obj, slides, bundle, options)
        return
    chosen = batch.parse_formats(formats)
    if resume:
        check_resumable(chosen)
    shown = None if gene is None else batch.shown_gene(bundle, gene, options.genes)
    run = batch.Run(bundle, options, shown, force, identity(bundle, options) if resume else None)
    targets = batch.output_targets(slides, out, chosen, run)
    if scheduler is None:
        code = batch.predict_slides(ctx.obj, targets, run)
    else:
        from bleep_cli import cluster_jobs

        code = cluster_jobs.predict_slides(ctx.obj, scheduler, ref, targets, run)
    if code:
        raise typer.Exit(code)


@app.command(name="build-reference")
def build_reference(
    ctx: typer.Context,
    cohort: opt.Cohort,
    out: opt.NewBundle,
    encoders: opt.EncodersFolder = None,
    base: opt.Base = None,
    only: opt.Only = None,
    device: opt.Device = opt.DeviceChoice.auto,
    force: opt.Force = False,
    scheduler: opt.Scheduler = None,
) -> None:
    """Build a reference bundle from measured sections, or add sections to one. No training stack needed."""
    from bleep_cli.atomic import check_free
    from bleep_cli.bundle import open_bundle
    from bleep_cli.encoders_folder import load_encoders
    from bleep_cli.reference import build_reference as build
    from bleep_cli.reference import check_build_options, grow_reference
    from bleep_cli.sections import read_cohort

    console: Console = ctx.obj
    check_build_options(encoders, base)
    if scheduler is not None and encoders is None:
        raise UsageError("--scheduler goes with --encoders; a bundle grows here, without it")
    check_free(out, force)
    with console.progress(cohort.name) as progress:
        if base is not None:
            opened = open_bundle(base)
            sections = read_cohort(cohort, only=_ids(only), progress=progress)
            built = grow_reference(opened, sections, device=device.value, progress=progress)
        else:
            towers = load_encoders(encoders or Path())
            sections = read_cohort(cohort, only=_ids(only), progress=progress)
            embed = None
            if scheduler is not None:
                from bleep_cli.cluster_jobs import image_embedder

                embed = image_embedder(console, scheduler, encoders or Path(), towers, device.value, progress)
            built = build(sections, towers, device=device.value, embed_images=embed, progress=progress)
    _write_built(console, built, out, force)


def _ids(only: str | None) -> list[str] | None:
    return [name.strip() for name in only.split(",") if name.strip()] if only else None


def _write_built(console: Console, built: Built, out: Path, force: bool) -> None:
    from bleep_cli.bundle_write import write_bundle

    sha256 = write_bundle(out, built.info, built.arrays, force=force)
    for note in built.notes:
        console.say(f"note: {note}")
    spots, genes = built.arrays.expression.shape
    record = {
        "bundle": str(out),
        "content_sha256": sha256,
        "spots": spots,
        "genes": genes,
        "sections": [section.id for section in built.info.sections],
        "notes": list(built.notes),
    }
    console.data(record, [f"{out}: {spots} spots × {genes} genes from {len(built.info.sections)} sections"])


@app.command()
def inspect(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A bundle, or a slide.")],
    verify: Annotated[bool, typer.Option("--verify", help="Read and check every value of a bundle.")] = False,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Microns per level-0 pixel of a slide.")] = None,
    json_: opt.Json = False,
) -> None:
    """Tell what a bundle or a slide holds."""
    from bleep_cli.inspection import inspect_bundle, inspect_slide

    console: Console = ctx.obj
    console.as_json = console.as_json or json_
    if path.is_file() and not path.name.endswith(".zip"):
        console.data(*inspect_slide(path, mpp))
        return
    with console.progress(path.name) as progress:
        record, lines, ok = inspect_bundle(path, verify=verify, progress=progress)
    console.data(record, lines)
    if not ok:
        from bleep_cli.errors import ReferenceError

        raise ReferenceError(f"{path.name} failed its verification")


@app.command()
def doctor(ctx: typer.Context, json_: opt.Json = False) -> None:
    """Check this installation: versions, devices, memory, and a self-test on a built-in tile."""
    from bleep_cli.doctor import examine

    console: Console = ctx.obj
    console.as_json = console.as_json or json_
    record, lines, problem = examine()
    console.data(record, lines)
    if problem is not None:
        raise problem


@app.command()
def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the result.")] = Path("bleep-demo"),
    device: opt.Device = opt.DeviceChoice.auto,
) -> None:
    """Predict on the built-in synthetic liver section and compare with its known truth."""
    from bleep_cli.demo import run_demo

    console: Console = ctx.obj
    with console.progress("demo") as progress:
        record, lines = run_demo(out, device.value, progress)
    console.data(record, lines)


def main() -> NoReturn:
    """Entry point of the console script: runs the command and turns every error into its exit code."""
    privacy.leave_nothing()
    if hasattr(signal, "SIGTERM"):
        signal.signal(signal.SIGTERM, _terminated)
    verbose = any(flag in sys.argv[1:] for flag in ("-v", "--verbose"))
    console = Console()
    try:
        app(standalone_mode=True)
    except BleepError as error:
        console.error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        console.error("interrupted; nothing half-written was left")
        sys.exit(INTERRUPTED)
    except MemoryError:
        console.error("out of memory; see --dry-run for what a slide needs")
        sys.exit(SlideError.exit_code)
    except BrokenPipeError:
        sys.exit(BUG)
    except Exception as error:
        if verbose:
            raise
        console.error(f"this is a bug ({type(error).__name__}: {error}); bleep -v shows where")
        sys.exit(BUG)
    sys.exit(0)


def _terminated(_signal: int, _frame: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
