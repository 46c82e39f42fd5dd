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
"""Bytes of an array of an HDF5 file or of a bundle for which no ratio is asked."""
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

# --- reference bundles

MOST_BUNDLE_FILES: Final = 2_000_000
"""Files of a bundle, in a folder or a zip: 10 million spots × 20,000 genes have 400,000."""
MOST_BUNDLE_DEPTH: Final = 16
"""Folders within folders; a bundle has four."""
MOST_BUNDLE_ARRAYS: Final = 1000
"""Arrays and groups of a bundle; it has some 30."""
MOST_BUNDLE_JSON: Final = 16 << 20
"""Bytes of one zarr.json, or of the encoders.json of a folder of towers."""
MOST_CHUNK_BYTES: Final = 256 << 20
"""Bytes of one chunk of a bundle, unpacked: 1,024 spots × 60,000 genes as float32 have 234 MB."""
MOST_ARRAY_RATIO: Final = 1000
"""Bytes that an array of a bundle holds for each stored one, beyond the first 64 MB: expression reaches 100."""
MOST_ZIPPED_RATIO: Final = 200
"""Unpacked bytes of a file in a bundle's zip for each packed one, beyond the first MB: chunks come packed."""
RATIO_FREE_ZIPPED: Final = 1 << 20
"""Bytes of such a file for which no ratio is asked."""
MOST_REFERENCE_SPOTS: Final = 100_000_000
"""Spots of a bundle."""
MOST_REFERENCE_GENES: Final = 1_000_000
"""Genes of a bundle."""
MOST_DIMENSIONS: Final = 65_536
"""Dimensions of a bundle's embeddings: towers have 128 to 2,048."""
MOST_BUNDLE_NAME: Final = 1000
"""Characters of the name of a gene, spot, section or donor of a bundle."""
MOST_TILE_PX: Final = 8192
"""Edge of a bundle's tile in pixels."""
LEAST_TILE_UM: Final = 0.1
"""Edge of a bundle's field of view in µm."""
MOST_TILE_UM: Final = 100_000.0
"""Edge of a bundle's field of view in µm: the length of a glass slide is 75,000."""
LEAST_MPP: Final = 1e-4
"""µm per pixel of a bundle's section."""
MOST_MPP: Final = 10_000.0
"""µm per pixel of a bundle's section."""
MOST_FIELDS: Final = 64
"""Fields of view that a bundle's tile stacks."""
LEAST_TARGET_SUM: Final = 1e-6
"""Counts that a bundle's spots are scaled to."""
MOST_TARGET_SUM: Final = 1e12
"""Counts that a bundle's spots are scaled to."""
HASHED_UNASKED: Final = 256 << 20
"""Bytes of a bundle up to which prediction compares its content hash unasked: that takes a second at most."""

MOST_KEY_BYTES: Final = 1 << 16
"""Bytes of a public key, or of a bundle's signature: they have some hundred."""

# --- HNSW graphs

MOST_LINKS: Final = 256
"""Links of a row of a graph on the levels above the lowest (M); 16 is usual."""
MOST_LEVELS: Final = 64
"""Levels of a graph; a billion rows have eight."""
MOST_EF: Final = 100_000
"""Width of search of a graph; 3,200 is the largest that is ever chosen."""

# --- towers and other ONNX models

MOST_MODEL_BYTES: Final = 2 << 30
"""Bytes of an ONNX model: Protocol Buffers' own limit."""
MOST_OPERATORS: Final = 200_000
"""Operators of an ONNX model, those of its functions as often as they are called; large networks have 10,000."""
MOST_GRAPH_DEPTH: Final = 32
"""Graphs within graphs of an ONNX model."""
MOST_BATCH_SECONDS: Final = 300.0
"""Seconds that one batch may take in a tower; a large network on a slow CPU takes 80."""

# --- options and services

MOST_PORT: Final = 65_535
"""Number of a port of a scheduler."""


def over(name: str, limit: str) -> str:
    """The words of an error for what goes beyond a limit, ``name`` what does, ``limit`` the constant here.

    ``KeyError`` for a constant that is not here.
    """
    return f"{name} is over the limit {limit}, {globals()[limit]:,} (docs/limits.md)"
