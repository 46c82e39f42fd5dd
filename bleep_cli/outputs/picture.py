"""Pictures as PNG: one predicted gene on its slide, the spots of a section on its picture, a slide judged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.blocks import gene_values
from bleep_cli.plotting.gene import FOOTER, gene_figure
from bleep_cli.plotting.quality import FOOTER as QUALITY_FOOTER
from bleep_cli.plotting.quality import QualityPicture, quality_figure
from bleep_cli.plotting.section import FOOTER as SECTION_FOOTER
from bleep_cli.plotting.section import SpotPicture, section_figure
from bleep_cli.types import Prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SAYS = f", predicted. {FOOTER}"  # the picture file's description, behind the gene
PICTURE_SUFFIX = ".bleep.png"
"""Of its own, so that a slide that is a PNG is never taken for a result."""
SECTION_SUFFIX = ".spots.png"
COMPRESS = 4  # in two thirds of the time of 6, what Pillow would take; 2 % larger
DRAWN_WITH = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.style")
"""Packages that take most of a second to load, which other work can spare."""


def write_gene_png(prediction: Prediction, gene: str, path: Path, *, force: bool = False) -> None:
    """Draws the H&E overview beside the same with the tiles coloured by ``gene``; at most 2,400 px an edge.

    Colours span the 1st to 99th percentile of the tiles. The same prediction gives the same bytes.
    ``UsageError`` for an unknown gene; ``OutputError`` if ``path`` exists and not ``force``, or if it cannot
    be written.
    """
    values = gene_values(prediction, gene)
    _write(lambda: gene_figure(prediction, gene, values), path, gene + _SAYS, force)


def write_section_png(drawn: SpotPicture, path: Path, *, force: bool = False) -> None:
    """Draws the spots of a section on its picture; at most 2,400 px an edge. The same section, the same bytes.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    _write(lambda: section_figure(drawn), path, SECTION_FOOTER, force)


def write_quality_png(drawn: QualityPicture, path: Path, *, force: bool = False) -> None:
    """Draws a slide as it was judged; at most 2,400 px an edge. The same slide, the same bytes.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    _write(lambda: quality_figure(drawn), path, QUALITY_FOOTER, force)


def _write(draw: Callable[[], Figure], path: Path, says: str, force: bool) -> None:
    import matplotlib.style

    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names may be in any script
        figure = draw()
        with atomic_path(path, force) as temp:
            figure.savefig(
                temp,
                format="png",
                metadata={"Software": None, "Description": says},
                pil_kwargs={"compress_level": COMPRESS},
            )


def picture_gene(path: Path) -> str | None:
    """The gene that a picture of ours says it shows; None for one that does not say, or is no picture."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()  # all of it is there
            said = str(image.info.get("Description", ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return said.removesuffix(_SAYS) if said.endswith(_SAYS) else None
