"""Everything that ``--format`` may ask for of a slide, and what each file can be asked for later."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.outputs.exports.geojson import MOST_GENES
from bleep_cli.outputs.formats import FORMATS, RESULTS, Format, output_path
from bleep_cli.outputs.picture import PICTURE_SUFFIX
from bleep_cli.report.page import PAGE_SUFFIX, write_report
from bleep_cli.types import Prediction

Paths = dict[str, Path]
"""Where each format of one slide goes."""

PICTURE = "png"
WRITERS: Mapping[str, Format] = {**FORMATS, "html": Format(PAGE_SUFFIX, write_report)}
"""All that is written from a prediction alone; a picture takes a gene as well."""
WRITTEN_WITH: Mapping[str, tuple[str, ...]] = {
    "h5ad": ("anndata",),
    "zarr": ("anndata",),
    PICTURE: ("matplotlib.figure", "matplotlib.backends.backend_agg"),
}
"""Packages that take a second to load, which a slide's tiles have to spare."""
HOLD_LAYERS = (*RESULTS, "spatialdata")
"""Those that hold every layer of a prediction."""


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
    if "geojson" in kinds and genes > MOST_GENES:
        what = f"its GeoJSON holds the {MOST_GENES} genes that vary most, of {genes}"
        told.append(Finding("geojson-genes", what, slide, f"{option('genes')} chooses others"))
    without = [kind for kind in kinds if kind not in HOLD_LAYERS]
    if prediction.layers and without:
        verb = "hold" if len(without) > 1 else "holds"
        what = f"{', '.join(without)} {verb} no bounds and samples"
        told.append(
            Finding("layers-left-out", what, slide, f"{option('format')} {', '.join(HOLD_LAYERS)} hold them")
        )
    return tuple(told)
