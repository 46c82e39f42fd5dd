"""``bleep inspect``, ``bleep qc``, ``bleep doctor`` and ``bleep demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.base.text import file_text
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.commands.predict import gene_list
from bleep_cli.errors import ReferenceError, SlideError, UsageError, option
from bleep_cli.findings import refuse_warnings

INSPECTED = {
    **dict.fromkeys(("verify", "ref_sha256", "ref_key", "genes"), "bundle"),
    **dict.fromkeys(("mpp", "scene", "anonymise"), "slide"),
    **dict.fromkeys(("out", "force"), "cohort"),
}
"""What an option of ``inspect`` is for. Given with something else it would be passed over, a pin among them."""


def inspect(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="A bundle, a slide, or a cohort file (.toml).")],
    verify: Annotated[bool, typer.Option("--verify", help="Read and check every value of a bundle.")] = False,
    ref_sha256: opt.RefSha256 = None,
    ref_key: opt.RefKey = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Microns per level-0 pixel of a slide.")] = None,
    scene: opt.Scene = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Draw the spots of a cohort's sections into this folder.")
    ] = None,
    genes: Annotated[
        str | None,
        typer.Option(
            "--genes", help="How well a bundle's genes are predicted: names separated by commas, a file, or all."
        ),
    ] = None,
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Tell what a bundle or a cohort's sections hold, or what a slide is and what would be read of it."""
    from bleep_cli.api import inspect_bundle, inspect_genes, inspect_slide

    console: Console = ctx.obj
    console.heed(strict=strict)
    kind = "cohort" if path.suffix.lower() == ".toml" else "slide" if _is_slide(path) else "bundle"
    for name, its in INSPECTED.items():
        source = ctx.get_parameter_source(name)
        if its != kind and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"{option(name)} is for a {its}; {file_text(path.name)} is taken for a {kind}")
    if anonymise:
        console.hide_files(("the slide", path))
    console.begin(f"reading {file_text(path.name)} ...")
    if genes is not None:
        chosen = None if genes == "all" else gene_list(genes)
        console.data(*inspect_genes(path, chosen, ref_sha256=ref_sha256, ref_key=ref_key))
        return
    if kind == "cohort":
        _inspect_cohort(console, path, out, force=force)
        return
    if kind == "slide":
        told = inspect_slide(path, mpp, scene, anonymise=anonymise)
        for finding in told.findings:
            console.finding(finding)
        console.data(told.record, told.lines)
        if console.strict:
            refuse_warnings(told.findings, SlideError)
        return
    with console.progress(path.name) as progress:
        record, lines, ok = inspect_bundle(
            path, verify=verify, ref_sha256=ref_sha256, ref_key=ref_key, progress=progress
        )
    console.data(record, lines)
    if not ok:
        raise ReferenceError(f"{path.name} failed its verification")


def _is_slide(path: Path) -> bool:
    """A file that is no zipped bundle, or a folder that is none: that of a DICOM series."""
    if path.is_dir():
        return not any((path / name).is_file() for name in ("zarr.json", ".zgroup"))
    return path.is_file() and not path.name.endswith(".zip")


def qc(
    ctx: typer.Context,
    slide: Annotated[Path, typer.Argument(metavar="SLIDE", help="A slide: SVS, NDPI, TIFF, DICOM, PNG, ...")],
    ref: opt.RefToJudge = None,
    ref_sha256: opt.RefSha256 = None,
    ref_key: opt.RefKey = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Microns per level-0 pixel of the slide.")] = None,
    scene: opt.Scene = None,
    mask: opt.Mask = None,
    mask_class: opt.MaskClass = None,
    origin: opt.Origin = "auto",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A picture of it: .png.")] = None,
    device: opt.Device = "auto",
    anonymise: opt.Anonymise = False,
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Judge a slide before it is predicted: scale, stain, focus, ink, and how much of it looks like the reference.

    Exit code 3 for a slide that is not fit, with --strict for a doubtful one as well.
    """
    from bleep_cli import api

    console: Console = ctx.obj
    console.heed(strict=strict)
    if anonymise:
        console.hide_files(("the slide", slide), ("the mask", mask))
    console.begin(f"looking at {file_text(slide.name)} ...")
    with console.progress(slide.name) as progress:
        found = api.qc(
            slide,
            ref,
            ref_sha256=ref_sha256,
            ref_key=ref_key,
            mpp=mpp,
            scene=scene,
            mask=mask,
            mask_class=opt.names(mask_class or ""),
            origin=origin,
            out=out,
            device=device,
            anonymise=anonymise,
            force=force,
            progress=progress,
        )
    for finding in found.findings:
        console.finding(finding)
    console.data(found.record, found.lines)
    if found.verdict == "not fit":
        raise SlideError(f"{found.lines[0]}: it is better not predicted")
    if console.strict:
        refuse_warnings(found.findings, SlideError)


def doctor(ctx: typer.Context) -> None:
    """Check this installation: versions, devices, memory, and a self-test on a built-in tile."""
    from bleep_cli.api import examine

    console: Console = ctx.obj
    record, lines, problem = examine()
    console.data(record, lines)
    if problem is not None:
        raise problem


def demo(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the result.")] = Path("bleep-demo"),
    device: opt.Device = "auto",
) -> None:
    """Predict on the built-in synthetic liver section and compare with its known truth."""
    from bleep_cli import api

    console: Console = ctx.obj
    with console.progress("demo") as progress:
        prediction = api.predict_demo(device=device, progress=progress)
    record, lines = api.score_demo(prediction)
    console.lines(lines)
    files = []
    for what, file in api.write_demo(prediction, out):
        console.lines([f"{what:8}{file}"])
        files.append(str(file))
    console.data(record | {"files": files}, ["open the page in a browser"])


def _inspect_cohort(console: Console, path: Path, out: Path | None, *, force: bool) -> None:
    """Tells of every section of a cohort file, and draws their spots into ``out``.

    Raises an error of the class of the first section's that is refused; for warnings, too, where the console is
    strict.
    """
    from bleep_cli import api

    with console.progress(path.name) as progress:
        report = api.inspect_cohort(path, out, force=force, progress=progress)
    console.data(api.cohort_record(report), api.cohort_lines(report))
    for finding in report.findings:
        console.finding(finding)
    for error in report.errors:
        console.error(error)
    if report.errors:
        refused = [section.id for section in report.sections if section.error is not None]
        raise type(report.errors[0])(
            f"{path.name}: {len(refused)} of {len(report.sections)} sections cannot be used: {', '.join(refused)}"
        )
    if console.strict:
        refuse_warnings(report.findings, ReferenceError)
