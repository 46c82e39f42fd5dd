"""``bleep qc``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.errors import SlideError
from bleep_cli.findings import refuse_warnings


def qc(
    ctx: typer.Context,
    slide: Annotated[Path, typer.Argument(metavar="SLIDE", help="A slide: SVS, NDPI, TIFF, DICOM, PNG, ...")],
    ref: opt.RefToJudge = None,
    ref_sha256: opt.RefSha256 = None,
    mpp: Annotated[float | None, typer.Option("--mpp", help="Microns per level-0 pixel of the slide.")] = None,
    scene: opt.Scene = None,
    mask: opt.Mask = None,
    mask_class: opt.MaskClass = None,
    origin: opt.Origin = "auto",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A picture of it: .png.")] = None,
    device: opt.Device = "auto",
    force: opt.Force = False,
    strict: opt.Strict = False,
) -> None:
    """Judge a slide before it is predicted: scale, stain, focus, ink, and how much of it looks like the reference.

    Exit code 3 for a slide that is not fit, with --strict for a doubtful one as well.
    """
    from bleep_cli import api

    console: Console = ctx.obj
    console.heed(strict=strict)
    console.begin(f"looking at {slide.name} ...")
    with console.progress(slide.name) as progress:
        found = api.qc(
            slide,
            ref,
            ref_sha256=ref_sha256,
            mpp=mpp,
            scene=scene,
            mask=mask,
            mask_class=opt.names(mask_class or ""),
            origin=origin,
            out=out,
            device=device,
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
