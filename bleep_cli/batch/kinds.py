"""Everything that ``--format`` may ask for of a slide, and what each file can be asked for later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.outputs.exports.cellxgene import ensembl_genes
from bleep_cli.outputs.exports.chosen import MOST_GENES
from bleep_cli.outputs.exports.lattice import lattice
from bleep_cli.outputs.formats import FORMATS, RESULTS, Format, output_path
from bleep_cli.outputs.picture import DRAWN_WITH, PICTURE_SUFFIX
from bleep_cli.report.page import PAGE_SUFFIX, write_report
from bleep_cli.types import Prediction, Str, TileGrid

Paths = dict[str, Path]
"""Where each format of one slide goes."""

PICTURE = "png"
WRITERS: Mapping[str, Format] = {**FORMATS, "html": Format(PAGE_SUFFIX, write_report)}
"""All that is written from a prediction alone; a picture takes a gene as well."""
WRITTEN_WITH: Mapping[str, tuple[str, ...]] = {
    "h5ad": ("anndata",),
    "zarr": ("anndata",),
    PICTURE: DRAWN_WITH,
}
"""Packages that take a second to load, which a slide's tiles have to spare."""
HOLD_LAYERS = (*RESULTS, "spatialdata")
"""Those that hold every layer of a prediction."""
HOLD_MOST_VARYING = ("geojson", "ometiff")
"""Those that hold at most ``MOST_GENES`` genes."""
ON_GRID = ("ometiff",)
"""Those whose pixels the tiles are."""
BY_ENSEMBL = ("cellxgene",)
"""Those that name genes by their Ensembl ids."""


def check_kinds(kinds: tuple[str, ...]) -> None:
    """Raises ``UsageError`` for none, or for one that does not exist."""
    known = [*WRITERS, PICTURE]
    if not kinds or set(kinds) - set(known):
        raise UsageError(f"{option('format')} {','.join(kinds)}: choose among {', '.join(known)}")


def in_order(kinds: tuple[str, ...]) -> list[str]:
    """Results first: what else there is belongs to one that is no newer."""
    return sorted(kinds, key=lambda kind: kind not in RESULTS)


def target(folder: Path, stem: str, kind: str) -> Path:
    """Where a slide's file of that kind goes."""
    if kind in FORMATS:
        return output_path(folder, stem, kind)
    return folder / f"{stem}{PICTURE_SUFFIX if kind == PICTURE else WRITERS[kind].suffix}"


def results_of(paths: Paths) -> Paths:
    """The files that can be read back."""
    return {kind: path for kind, path in paths.items() if kind in RESULTS}


def left_out(kinds: Iterable[str], prediction: Prediction, slide: str) -> tuple[Finding, ...]:
    """What files of those kinds do not hold of a prediction."""
    told, genes = [], len(prediction.symbols)
    few = [kind for kind in kinds if kind in HOLD_MOST_VARYING]
    if few and genes > MOST_GENES:
        what = f"{_hold(few)} the {MOST_GENES} genes that vary most, of {genes}"
        told.append(Finding("genes-left-out", what, slide, f"{option('genes')} chooses others"))
    named = [kind for kind in kinds if kind in BY_ENSEMBL]
    lost = genes - len(ensembl_genes(prediction.gene_ids, prediction.symbols)) if named else 0
    if lost:
        what = f"{_hold(named)} {genes - lost} of {genes} genes, the others have no Ensembl ids"
        told.append(Finding("genes-left-out", what, slide))
    without = [kind for kind in kinds if kind not in HOLD_LAYERS]
    if prediction.layers and without:
        what = f"{_hold(without)} no bounds and samples"
        told.append(
            Finding("layers-left-out", what, slide, f"{option('format')} {', '.join(HOLD_LAYERS)} hold them")
        )
    return tuple(told)


def _hold(kinds: Sequence[str]) -> str:
    return f"{', '.join(kinds)} {'hold' if len(kinds) > 1 else 'holds'}"


def check_grid(kinds: Iterable[str], grid: TileGrid) -> None:
    """Raises ``UsageError`` where a kind is asked for that cannot be made of these tiles, before they are
    predicted."""
    for kind in kinds:
        if kind in ON_GRID:
            lattice(grid, kind)


def check_genes(kinds: Iterable[str], gene_ids: Str, symbols: Str) -> None:
    """The same for their genes."""
    for kind in kinds:
        if kind in BY_ENSEMBL:
            ensembl_genes(gene_ids, symbols)
