"""The picture of one predicted gene on its slide, as a PNG."""

from __future__ import annotations

import warnings
from pathlib import Path

from bleep_cli.base.atomic import atomic_path
from bleep_cli.outputs.blocks import gene_values
from bleep_cli.plotting.gene import FOOTER, gene_figure
from bleep_cli.types import Prediction

_SAYS = f", predicted. {FOOTER}"  # the picture file's description, behind the gene
PICTURE_SUFFIX = ".bleep.png"
"""Of its own, so that a slide that is a PNG is never taken for a result."""


def write_gene_png(prediction: Prediction, gene: str, path: Path, *, force: bool = False) -> None:
    """Draws the H&E overview beside the same with the tiles coloured by ``gene``; at most 2,400 px an edge.

    Colours span the 1st to 99th percentile of the tiles. The same prediction gives the same bytes.
    ``UsageError`` for an unknown gene; ``OutputError`` if ``path`` exists and not ``force``, or if it cannot
    be written.
    """
    import matplotlib.style

    values = gene_values(prediction, gene)
    with matplotlib.style.context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a slide may be named in any script
        figure = gene_figure(prediction, gene, values)
        with atomic_path(path, force) as temp:
            texts = {"Software": None, "Description": gene + _SAYS}
            figure.savefig(temp, format="png", metadata=texts)


def picture_gene(path: Path) -> str | None:
    """The gene that a picture of ours says it shows; None for one that does not say, or is no picture."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            said = str(image.info.get("Description", ""))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return said.removesuffix(_SAYS) if said.endswith(_SAYS) else None
