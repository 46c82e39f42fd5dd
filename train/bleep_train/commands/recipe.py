"""The command that makes references of public data: recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.text import counted
from bleep_cli.commands import options as opt
from bleep_cli.commands.console import Console
from bleep_cli.errors import UsageError, option
from bleep_train.commands.options import ForceOption

if TYPE_CHECKING:
    from bleep_cli.api import Built
    from bleep_train.metrics.tables import Table
    from bleep_train.recipes.folder import Checked
    from bleep_train.recipes.manifest import DataFile, Manifest


def recipe(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A recipe, or a manifest of your own; without: all.")
    ] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Folder that holds the files; nothing is downloaded.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--to", help="Folder to download the files to, from where they are published.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The new bundle, .zarr or .zarr.zip.")] = None,
    cohort: Annotated[
        Path | None, typer.Option("--cohort", help="Write a cohort file of the sections, for bleep-train train.")
    ] = None,
    only: opt.Only = None,
    accept_changed: Annotated[
        bool, typer.Option("--accept-changed", help="Take files of another size or hash than the manifest's.")
    ] = False,
    views: opt.Views = None,
    device: opt.Device = "auto",
    force: ForceOption = False,
) -> None:
    """Make a reference of public data: list recipes, show one, or build its bundle.

    With --from nothing is downloaded; with --to what is not there yet is, by https, and checked.
    """
    from bleep_train.commands.show import show
    from bleep_train.recipes.folder import Checked
    from bleep_train.recipes.manifest import load_manifest, manifests

    console: Console = ctx.obj
    if name is None:
        show([overview(manifests())], console)
        return
    manifest = load_manifest(name)
    ids = opt.names(only) if only else None
    if out is None and cohort is None and to is None:
        lines = [*described(manifest), *(standing(manifest, from_, ids) if from_ else [])]
        console.data({"recipe": manifest.name, "told": lines}, lines)
        return
    for target in (out, cohort):
        if target is not None:
            check_free(target, force)
    checked = Checked(accept_changed)
    folder = _folder(console, manifest, from_, to, ids, checked)
    if out is not None or cohort is not None:
        _make(console, manifest, folder, checked, ids, out, cohort, views, device, force)


def _folder(
    console: Console,
    manifest: Manifest,
    from_: Path | None,
    to: Path | None,
    only: list[str] | None,
    checked: Checked,
) -> Path:
    """The folder that holds the files, once those that are to be downloaded have come."""
    from bleep_train.recipes.download import download

    if from_ is not None and to is not None:
        raise UsageError(f"give {option('from')}, where nothing is downloaded, or {option('to')}, not both")
    if from_ is not None:
        return from_
    if to is None:
        raise UsageError(
            f"say where the files are with {option('from')}, or where to download them with {option('to')}"
        )
    with console.progress(manifest.name) as progress:
        fetched = download(manifest, to, checked, only=only, progress=progress)
    console.each(
        {"folder": str(to), "downloaded": fetched},
        f"{to}: {counted(len(fetched), 'file')} downloaded" if fetched else f"{to}: nothing to download",
    )
    return to


def _make(
    console: Console,
    manifest: Manifest,
    folder: Path,
    checked: Checked,
    only: list[str] | None,
    out: Path | None,
    cohort: Path | None,
    views: int | None,
    device: opt.Device,
    force: bool,
) -> None:
    from bleep_cli import api
    from bleep_train.recipes.sections import gather, write_cohort_file

    with console.progress(manifest.name) as progress:
        found = gather(manifest, folder, checked, only=only, progress=progress)
        for note in found.notes:
            console.say(f"note: {note}")
        if cohort is not None:
            write_cohort_file(manifest, found.entries, cohort, force=force)
            console.each(
                {"cohort": str(cohort), "sections": len(found.entries)},
                f"{cohort}: {counted(len(found.entries), 'section')}",
            )
        if out is None:
            return
        views = views or manifest.build.views
        built = api.build_reference(found.sections, views=views, device=device, progress=progress)
    for finding in built.findings:
        console.finding(finding)
    built = api.describe(built, species=manifest.species, licence=manifest.licence, citation=manifest.citation)
    api.write(_with_files(built, manifest, checked), out, force=force)
    spots, genes = built.arrays.expression.shape
    size = f"{counted(spots, 'spot')} × {counted(genes, 'gene')}"
    line = f"{out}: {size} from {counted(len(found.sections), 'section')}; {manifest.licence}"
    console.each({"bundle": str(out), "spots": spots, "genes": genes, "licence": manifest.licence}, line)


def _with_files(built: Built, manifest: Manifest, checked: Checked) -> Built:
    """The reference with the recipe's name and the hashes of its files in its record of training."""
    data = {"recipe": manifest.name, "source": manifest.source, "sha256": dict(sorted(checked.sha256.items()))}
    return replace(built, info=replace(built.info, training={**built.info.training, "data": data}))


def overview(manifests: Sequence[Manifest]) -> Table:
    """A line for every recipe."""
    from bleep_train.metrics.tables import MISSING, Table

    columns = ("recipe", "tissue", "species", "sections", "spots", "licence", "accuracy measured here")
    rows = [
        (
            manifest.name,
            manifest.tissue,
            manifest.species,
            str(len(manifest.section)),
            f"{manifest.spots:,}" if manifest.spots else MISSING,
            manifest.licence,
            manifest.accuracy,
        )
        for manifest in manifests
    ]
    return Table(columns, tuple(rows))


def described(manifest: Manifest) -> list[str]:
    """A manifest as a person reads it: terms, sections, files and where they come from, the command."""
    donors = {entry["donor"] for entry in manifest.section}
    size = f"{manifest.spots:,} spots, " if manifest.spots else ""
    size += counted(len(donors), "donor")
    facts = {
        "data": f"{manifest.species}; {manifest.tissue}; {manifest.technology}",
        "sections": f"{', '.join(manifest.ids)} ({size})",
        "licence": manifest.licence,
        "citation": manifest.citation,
        "source": manifest.source,
        "accuracy": manifest.accuracy,
        "build": f"views {manifest.build.views}",
    }
    lines = [f"{manifest.name}: {manifest.title}", *(f"{key:10}{value}" for key, value in facts.items())]
    lines += ["", *manifest.manual.strip().splitlines()] if manifest.manual.strip() else []
    lines += ["", "files:", *(f"  {_line(file)}" for file in manifest.file)]
    command = f"bleep-train recipe {manifest.name} {{}} FOLDER -o {manifest.name}.zarr"
    return [*lines, "", "with the files in FOLDER:  " + command.format("--from"), _downloaded(manifest, command)]


def _downloaded(manifest: Manifest, command: str) -> str:
    by_hand = sum(not (file.url or file.inside) for file in manifest.file)
    if by_hand == len(manifest.file):
        return "nothing of it can be downloaded by this command"
    part = f"    ({counted(by_hand, 'file')} only by hand)" if by_hand else ""
    return "downloaded to FOLDER:      " + command.format("--to") + part


def _line(file: DataFile) -> str:
    size = f"{file.size:,} bytes, " if file.size else ""
    hashed = f"sha256 {file.sha256[:12]}…" if file.sha256 else "hash not known"
    if file.inside:
        return f"{file.path}, from {file.inside}"
    return f"{file.path}, {size}{hashed}, {file.url or 'by hand'}"


def standing(manifest: Manifest, folder: Path, only: Sequence[str] | None) -> list[str]:
    """What of the sections a folder holds."""
    from bleep_train.recipes.folder import called, missing

    chosen = manifest.chosen(only)
    absent = missing(manifest, chosen, folder)
    whole = [entry["id"] for entry in chosen if entry["id"] not in absent]
    lines = ["", f"{called(folder)} holds {len(whole)} of {len(chosen)} sections: {', '.join(whole) or 'none'}"]
    return [*lines, *(f"  {i} lacks {', '.join(file.path for file in files)}" for i, files in absent.items())]
