"""The commands that make things: phantom | hest | train | distill | export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.base.text import counted
from bleep_cli.commands.console import Console
from bleep_cli.commands.options import names
from bleep_cli.towers.precision import Chosen
from bleep_train.commands.options import CohortArgument, ForceOption, ResumeOption, SetOption


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
    from bleep_train.phantom.section import write_phantom_cohort

    console: Console = ctx.obj
    with console.progress("phantom") as progress:
        cohort = write_phantom_cohort(
            out, seed, donors=names(donors), sections_per_donor=sections, size_um=size_um, progress=progress
        )
    console.data(
        {"cohort": str(cohort), "donors": names(donors)}, [f"{cohort}: synthetic sections of donors {donors}"]
    )


def hest(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="HEST-1k: st/, wsis/ and metadata/.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The cohort file.")],
    only: Annotated[str, typer.Option("--only", help="Comma-separated ids; default all.")] = "",
    bench: Annotated[
        Path | None, typer.Option("--bench", help="A task of HEST-Bench: splits/ and var_50genes.json.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Write the cohort file of a HEST-1k folder, or of a task of HEST-Bench on it."""
    from bleep_train.data.hest_bench import write_hest_cohort

    ids = write_hest_cohort(folder, out, only=names(only), task=bench, force=force)
    console: Console = ctx.obj
    line = f"{out}: {counted(len(ids), 'section')} of {folder}"
    console.data({"cohort": str(out), "sections": list(ids)}, [line])


def demo_artifacts(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="The artifacts folder.")],
) -> None:
    """Make the demo bundle and slide that the project ships."""
    from bleep_train.demo_artifacts import make_demo_artifacts

    console: Console = ctx.obj
    with console.progress("artifacts") as progress:
        card = make_demo_artifacts(out, progress=progress)
    console.data(card, [f"{out}: median r {card['median_r']} on the query slide"])


def train(
    ctx: typer.Context,
    cohort: CohortArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder.")],
    config: Annotated[
        str, typer.Option("--config", help="Preset (default, accurate, paper, tiny) or a TOML file.")
    ] = "default",
    hold_out: Annotated[str, typer.Option("--hold-out", help="Comma-separated section ids to leave out.")] = "",
    set_: SetOption = None,
    resume: ResumeOption = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop when the embedding collapses.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write the metrics for TensorBoard, too, into the run folder.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Train both towers on a cohort; on a terminal a live table shows every epoch."""
    from bleep_train.commands import live
    from bleep_train.config.toml import load_config
    from bleep_train.runs.train import summary, train_run

    console: Console = ctx.obj
    resolved = load_config(config, set_ or ())
    with (
        live.tensorboard(out, wanted=tensorboard) as board,
        live.live_training(quiet=console.quiet) as (progress, table),
    ):
        trained = train_run(
            cohort,
            resolved,
            out,
            held_out=names(hold_out),
            resume=resume,
            force=force,
            strict=strict or console.strict,
            progress=progress,
            watchers=(table, board),
        )
    if not trained.leads:
        return
    for warning in trained.warnings:
        console.problem(f"warning: {warning}")
    for note in trained.data.notes:
        console.say(f"note: {note}")
    if "validation_r" in trained.chosen:
        epoch, r = trained.chosen["epoch"], trained.chosen["validation_r"]
        console.say(f"note: epoch {epoch} is kept; its retrieval correlation on validation spots is {r:.3f}")
    console.data({"run": str(out), "trained": summary(trained.data)}, [f"{out}: {summary(trained.data)}"])


def distill(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of bleep-train train: the teacher.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The student's run folder.")],
    config: Annotated[
        str, typer.Option("--config", help="Preset or TOML file: what differs from the teacher's configuration.")
    ] = "student",
    set_: SetOption = None,
    resume: ResumeOption = False,
    force: ForceOption = False,
) -> None:
    """Distil a run into a light student that needs one view per tile; export and evaluate take it like any run."""
    from bleep_train.commands import live
    from bleep_train.commands.show import show
    from bleep_train.runs.student import distill_run, table_of

    console: Console = ctx.obj
    with live.live_training(quiet=console.quiet) as (progress, table):
        standings = distill_run(
            run, out, config, set_ or (), resume=resume, force=force, progress=progress, watchers=(table,)
        )
    show([table_of(standings)], console)


def export(
    ctx: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of bleep-train train.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The bundle, .zarr or .zarr.zip.")],
    half_weights: Annotated[
        bool, typer.Option("--half-weights", help="Store tower weights as float16: half the size.")
    ] = False,
    int8: Annotated[
        bool,
        typer.Option("--int8", help="Add the image tower in int8 for CPUs, calibrated on training tiles."),
    ] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Add the image tower in float16 for GPUs.")] = False,
    force: ForceOption = False,
) -> None:
    """Export both towers to ONNX, check them against torch, and pack the reference bundle."""
    from bleep_train.runs.export import export_run
    from bleep_train.runs.record import open_run

    console: Console = ctx.obj
    wanted: dict[Chosen, bool] = {"int8": int8, "fp16": fp16}
    with console.progress("export") as progress:
        built, parity, sha256 = export_run(
            open_run(run),
            out,
            half_weights=half_weights,
            precisions=tuple(precision for precision, asked in wanted.items() if asked),
            force=force,
            progress=progress,
        )
    for finding in built.findings:
        console.finding(finding)
    spots, genes = built.arrays.expression.shape
    lines = [
        f"{out}: {counted(spots, 'spot')} × {counted(genes, 'gene')}, {sha256[:12]}",
        f"torch against ONNX Runtime: |Δ| {parity.image_delta:.1e} (image), {parity.expression_delta:.1e} "
        f"(expression), {parity.neighbours:.1%} of the {built.info.k} neighbours agree",
    ]
    for precision, other in built.arrays.other_towers.items():
        taken = "" if other.cost.within_tolerance else "; not taken by --precision auto"
        lines.append(f"{precision} against float32: {other.cost.line()}{taken}")
    record = {"bundle": str(out), "content_sha256": sha256, "spots": spots, "genes": genes, "parity": vars(parity)}
    costs = {name: other.cost.attrs() for name, other in built.arrays.other_towers.items()}
    findings = [finding.plain() for finding in built.findings]
    console.data(record | {"precisions": costs, "findings": findings}, lines)
