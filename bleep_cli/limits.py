"""Every limit of what is read from outside, and why: one flat list, of which docs/limits.md is made.

A file says how much it holds, and a decoder believes it: so each claim is held against one of these before memory
is taken or a library is called. They are far above what real files need. :func:`over` words an error.
"""

from __future__ import annotations

from typing import Final

# --- slides and pictures

MOST_PICTURE_BYTES: Final = 1_600_000_000
"""Bytes of a flat picture, or of a strip, once decoded: it is held whole. A tiled pyramid has no such limit."""
MOST_RATIO: Final = 4000
"""Decoded bytes for each stored one: LZW can reach 2,600, JPEG 1,400, deflate 1,032."""
RATIO_FREE_BYTES: Final = 16 << 20
"""Decoded bytes for which no ratio is asked: even tiles of a single colour are small enough."""
LARGE_BYTES: Final = 256 << 20
"""Decoded bytes from which on the stricter ratio is asked."""
MOST_RATIO_LARGE: Final = 200
"""The ratio of what decodes to more than that: a picture of tissue reaches 10 to 50, a bomb a thousand."""
MOST_TILE_PIXELS: Final = 4096 * 4096
"""Pixels of a tile of a TIFF: tiles of slides have 240 to 2,048 on an edge, and several are decoded at once."""
MOST_SIDE: Final = 1 << 24
"""Pixels along an edge of a slide: the largest have 300,000."""
MOST_DIRECTORIES: Final = 512
"""Directories of a TIFF, and planes of an OME-TIFF."""
MOST_TAGS: Final = 4096
"""Tags of a directory of a TIFF."""
MOST_TAG_BYTES: Final = 256 << 20
"""Bytes of one tag: 16 million tiles of 16 bytes."""
MOST_SHORT_LIST: Final = 4096
"""Values of a tag that describes samples or names further directories."""
MOST_SUBIFDS: Final = 64
"""Smaller copies that a picture of a TIFF lists."""
MOST_JPEG_SCANS: Final = 100
"""Scans of a progressive JPEG: each costs a pass over the whole picture."""
MOST_CELLS: Final = 50_000_000
"""Cells of the grid over a slide, tissue or not; a whole glass slide at 10 µm has 20 million."""
MOST_TILES: Final = 2_000_000
"""Tiles to predict on one slide; each keeps its neighbours in memory, some 600 bytes of 50."""

# --- text, tables, counts

MOST_TEXT_BYTES: Final = 1 << 30
"""Bytes of a text file (counts, names), unpacked: it is held whole."""
MOST_TABLE_BYTES: Final = 256 << 20
"""Bytes of a table of positions, a cohort file, a list of genes or of slides, unpacked."""
MOST_TEXT_RATIO: Final = 100
"""Unpacked bytes of text for each packed one, beyond the first 32 MB: counts of real sections reach 32."""
RATIO_FREE_TEXT: Final = 32 << 20
"""Bytes of text for which no ratio is asked."""
MOST_SPOTS: Final = 20_000_000
"""Spots of a section: Visium HD at 2 µm has 11 million squares."""
MOST_GENES: Final = 1_000_000
"""Genes, or other features, of a section."""
MOST_COUNTS: Final = 2_000_000_000
"""Values that a table of counts stores; beyond, 32-bit indices no longer reach."""
MOST_COUNT: Final = 1e9
"""Molecules of a gene in a spot: a library holds some 100 million reads; the sums of larger ones overflow."""
MOST_DENSE: Final = 400_000_000
"""Values of a dense table of counts, every zero stored: it is held whole, 4 bytes each."""
MOST_NODES: Final = 100_000
"""Arrays and groups of an HDF5 file."""
MOST_HDF5_RATIO: Final = 2000
"""Bytes that an array of an HDF5 file declares for each one that it stores, beyond the first 64 MB."""
RATIO_FREE_ARRAY: Final = 64 << 20
"""Bytes of an array of an HDF5 file for which no ratio is asked."""
MOST_NAME: Final = 200
"""Bytes of a slide's name in the names of its results: file systems take 255, endings included."""

# --- masks

MOST_MASK_BYTES: Final = 256 << 20
"""Bytes of a mask file, unpacked."""
MOST_MASK_PIXELS: Final = 100_000_000
"""Pixels of a mask picture: 8 µm per pixel are enough, at which a whole glass slide has 31 million."""
MOST_MASK_POINTS: Final = 2_000_000
"""Corners of all outlines of a mask together."""
MOST_CROSSINGS: Final = 400_000_000
"""Rows of pixels that the edges of all outlines of a mask cross together: what filling them costs."""

# --- options and services

MOST_PORT: Final = 65_535
"""Number of a port of a scheduler."""


def over(name: str, limit: str) -> str:
    """The words of an error for what goes beyond a limit, ``name`` what does, ``limit`` the constant here.

    ``KeyError`` for a constant that is not here.
    """
    return f"{name} is over the limit {limit}, {globals()[limit]:,} (docs/limits.md)"
