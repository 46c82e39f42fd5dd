"""A prediction as an OME-TIFF: a picture of a pixel per tile, a channel per gene, for viewers of images."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.text import printable
from bleep_cli.base.version import __version__
from bleep_cli.outputs.blocks import columns_of
from bleep_cli.outputs.exports.chosen import chosen_genes, genes_told
from bleep_cli.outputs.exports.lattice import Lattice, halved, lattice
from bleep_cli.types import F32, I64, Prediction, Progress, no_progress

if TYPE_CHECKING:
    import tifffile

TILE_PX = 64
"""Edge of a tile of the file, and what the longer edge of its smallest level is at most."""
VALUES_AT_ONCE = 16_000_000
"""Values of genes that are held: 64 MB. More take further passes over the expression."""
CLASSIC_BYTES = 2 << 30  # of pixels; a larger file is a BigTIFF


def write_ome_tiff(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes float32 planes by gene, deflated tiles of 64 px, each with its halves as SubIFDs down to one tile.

    A pixel is a cell of the grid of tiles, ``PhysicalSizeX`` and ``Y`` its step in µm, NaN where there is no tile;
    a pixel of a smaller level is the mean of the tiles below it. ``PositionX`` and ``Y`` of every plane are the
    outer corner of its first pixel in µm from the slide's level-0 origin. Channels are genes by symbol; of more
    than ``MOST_GENES`` those that vary most. What else is said of the prediction is in a ``MapAnnotation``.

    The same prediction gives the same bytes. ``UsageError`` for tiles on no grid; ``OutputError`` if ``path``
    exists and not ``force``, or if it cannot be written.
    """
    import tifffile

    cells, genes = lattice(prediction.grid, "ometiff"), chosen_genes(prediction)
    levels = _levels(cells)
    large = 4 * cells.height * cells.width * len(genes) > CLASSIC_BYTES
    with (
        atomic_path(path, force) as temp,
        temp.open("x+b") as file,
        tifffile.TiffWriter(file, ome=False, bigtiff=large) as tiff,
    ):
        description: bytes | None = _xml(prediction, cells, genes).encode()
        for done, values in enumerate(_by_gene(prediction, genes), 1):
            _write_plane(tiff, cells.plane(values), levels, description)
            description = None
            progress("write", done, len(genes))


def _levels(cells: Lattice) -> int:
    """How often a plane is halved until one tile of the file holds it."""
    longer, levels = max(cells.height, cells.width), 0
    while longer > TILE_PX:
        longer, levels = (longer + 1) // 2, levels + 1
    return levels


def _by_gene(prediction: Prediction, genes: I64) -> Iterator[F32]:
    """f32[n] of each gene, in memory of ``VALUES_AT_ONCE``, or of one gene where that is more."""
    together = max(1, VALUES_AT_ONCE // len(prediction.grid))
    for first in range(0, len(genes), together):
        yield from columns_of(prediction, genes[first : first + together])


def _write_plane(tiff: tifffile.TiffWriter, plane: F32, levels: int, description: bytes | None) -> None:
    options: dict[str, Any] = {
        "photometric": "minisblack",
        "tile": (TILE_PX, TILE_PX),
        "compression": "zlib",
        "metadata": None,
        "software": f"bleep-cli {__version__}",
    }
    tiff.write(plane, subifds=levels, description=description, **options)
    for _ in range(levels):
        plane = halved(plane)
        tiff.write(plane, subfiletype=1, **options)


def _xml(prediction: Prediction, cells: Lattice, genes: I64) -> str:
    """The file's OME-XML."""
    import tifffile

    said, slide = prediction.provenance, printable(prediction.slide_id)
    symbols = [printable(str(symbol)) for symbol in prediction.symbols[genes]]
    (x, y), planes = cells.corner_um, len(genes)
    sha256 = said.get("slide", {}).get("sha256", "")
    key = f"{sha256} {slide} {x} {y} {cells.step_um} {' '.join(symbols)}"
    ome = tifffile.OmeXml(Creator=f"bleep-cli {__version__}", UUID=str(uuid.uuid5(uuid.NAMESPACE_OID, key)))
    ome.addimage(
        np.float32,
        (planes, cells.height, cells.width),
        (planes, 1, 1, cells.height, cells.width, 1),
        axes="CYX",
        Name=slide,
        Description="Predicted gene expression, a pixel per tile; NaN where there is no tile. Research use only.",
        PhysicalSizeX=cells.step_um,
        PhysicalSizeXUnit="µm",
        PhysicalSizeY=cells.step_um,
        PhysicalSizeYUnit="µm",
        Channel={"Name": symbols},
        Plane={
            "PositionX": [x] * planes,
            "PositionXUnit": ["µm"] * planes,
            "PositionY": [y] * planes,
            "PositionYUnit": ["µm"] * planes,
        },
        MapAnnotation=_said(prediction, cells, genes),
    )
    return str(ome.tostring(declaration=True))


def _said(prediction: Prediction, cells: Lattice, genes: I64) -> dict[str, str]:
    said, x_y = prediction.provenance, cells.corner_um
    slide, reference = said.get("slide", {}), said.get("reference", {})
    facts = {
        "slide": prediction.slide_id,
        "slide_sha256": slide.get("sha256", ""),
        "slide_mpp": f"{prediction.grid.mpp:g}",
        "corner_um": f"{x_y[0]:g}, {x_y[1]:g}",
        "corner_px": ", ".join(f"{um / prediction.grid.mpp:g}" for um in x_y),
        "reference": reference.get("name", ""),
        "reference_sha256": reference.get("content_sha256", ""),
        "expression_units": said.get("expression_units", ""),
        "genes": genes_told(prediction, len(genes)),
        "intended_use": said.get("intended_use", ""),
    }
    return {key: printable(str(value)) for key, value in facts.items()}


def is_whole(path: Path) -> bool:
    """Whether a file of this kind has its end: every tile that it lists lies within it."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            pages = [page for first in tiff.pages for page in (first, *(first.pages or ()))]
            ends = [
                sum(pair) for page in pages for pair in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
    except (OSError, ValueError, IndexError, struct.error, tifffile.TiffFileError):
        return False
    return max(ends, default=1 << 63) <= path.stat().st_size
