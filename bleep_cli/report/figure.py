"""Several predicted genes as a figure for print: PNG, SVG or PDF."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.choices import Scale
from bleep_cli.errors import UsageError, option
from bleep_cli.outputs.anonymous import anonymised
from bleep_cli.outputs.blocks import columns_of, gene_columns
from bleep_cli.outputs.read import open_result
from bleep_cli.plotting.gene import FOOTER
from bleep_cli.plotting.genes import genes_figure
from bleep_cli.types import Prediction

FIGURE_FORMATS = ("png", "svg", "pdf")
_MOST_GENES = 60
# Text stays text; no date and no chance, so that the same result gives the same bytes.
_STYLE: dict[str, Any] = {"svg.fonttype": "none", "svg.hashsalt": "bleep", "pdf.fonttype": 42}
_TEXTS: dict[str, dict[str, Any]] = {
    "png": {"Software": None, "Description": FOOTER},
    "svg": {"Creator": None, "Date": None, "Description": FOOTER},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None, "Subject": FOOTER},
}


def write_genes_figure(
    prediction: Prediction,
    genes: Sequence[str],
    path: Path,
    *,
    scale: Scale = "free",
    opacity: float = 0.8,
    force: bool = False,
) -> None:
    """Draws genes (symbols or ids) in a grid, in the format that the ending of ``path`` names.

    ``UsageError`` for another ending, genes that are not predicted, or an opacity outside 0 to 1; ``OutputError``
    if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import matplotlib.style

    kind = path.suffix.lower().lstrip(".")
    if kind not in FIGURE_FORMATS:
        raise UsageError(f"{option('out')} {path.name}: its ending has to be .png, .svg or .pdf")
    if not 0 < opacity <= 1:
        raise UsageError(f"{option('opacity')} {opacity:g}: give more than 0, up to 1")
    columns = gene_columns(prediction, genes, "genes")
    if not 0 < len(columns) <= _MOST_GENES:
        raise UsageError(f"{option('genes')} names {len(columns)} genes; a figure takes 1 to {_MOST_GENES}")
    symbols = [str(symbol) for symbol in prediction.symbols[columns]]
    with (
        atomic_path(path, force) as temp,
        matplotlib.style.context(["default", _STYLE]),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a slide may be named in any script
        values = columns_of(prediction, columns)
        figure = genes_figure(prediction, symbols, values, scale=scale, opacity=opacity)
        figure.savefig(temp, format=kind, metadata=_TEXTS[kind])


def plot(
    result: Path | str,
    genes: Sequence[str],
    path: Path | str,
    *,
    scale: Scale,
    opacity: float,
    force: bool,
    anonymise: bool = False,
) -> None:
    """The figure of a written result, with ``anonymise`` without names; raises as :func:`write_genes_figure` and
    ``open_result`` do."""
    prediction = anonymised(open_result(result)) if anonymise else open_result(result)
    write_genes_figure(prediction, genes, Path(path), scale=scale, opacity=opacity, force=force)
