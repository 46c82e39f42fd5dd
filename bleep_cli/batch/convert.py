"""A written result in other formats, without its slide and without its reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bleep_cli.base.files.atomic import check_free
from bleep_cli.batch.kinds import (
    PICTURE,
    WRITERS,
    check_genes,
    check_grid,
    check_kinds,
    in_order,
    left_out,
    target,
)
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.outputs.anonymous import anonymised
from bleep_cli.outputs.blocks import default_gene, of_genes
from bleep_cli.outputs.picture import write_gene_png
from bleep_cli.outputs.read import open_result
from bleep_cli.outputs.set_scores import scored
from bleep_cli.types import Progress, no_progress


def _untold(_finding: Finding) -> None:
    """For a caller that does not want to know."""


def convert(
    result: Path | str,
    formats: Sequence[str],
    folder: Path | str | None = None,
    *,
    genes: Sequence[str] | None = None,
    sets: Path | str | None = None,
    force: bool = False,
    anonymise: bool = False,
    tell: Callable[[Finding], None] = _untold,
    progress: Progress = no_progress,
) -> list[Path]:
    """Writes a result in other formats, beside it or into ``folder``, of ``genes`` (symbols or ids) or all, block
    by block; returns what was written. ``sets`` is a GMT file whose sets are scored in every tile (columns
    ``set_NAME`` of ``obs``), with all genes of the result. ``tell`` is told what files do not hold. With
    ``anonymise`` they are called by the hash of the slide, and hold no names (:mod:`bleep_cli.outputs.anonymous`).

    Raises ``UsageError`` for what is no result, an unknown format or gene, or the result's own file as target,
    ``OutputError`` for a damaged result and for a file that exists, unless ``force``, or cannot be written.
    """
    check_kinds(tuple(formats))
    source = Path(result)
    prediction = of_genes(scored(open_result(source), sets), genes)
    prediction = anonymised(prediction) if anonymise else prediction
    stem = prediction.slide_id if anonymise else source.name.removesuffix(source.suffix)
    into = source.parent if folder is None else Path(folder)
    out = {kind: target(into, stem, kind) for kind in in_order(tuple(formats))}
    for kind, path in out.items():
        if path.exists() and path.samefile(source):
            raise UsageError(f"{option('format')} {kind}: {source.name} is that already; choose another folder")
        check_free(path, force)
    check_grid(out, prediction.grid)
    check_genes(out, prediction.gene_ids, prediction.symbols)
    for finding in left_out(out, prediction, stem if anonymise else source.name):
        tell(finding)
    for kind, path in out.items():
        if kind == PICTURE:
            write_gene_png(prediction, default_gene(prediction), path, force=force)
        else:
            WRITERS[kind].write(prediction, path, force=force, progress=progress)
    return list(out.values())
