"""Every limit of what is read from outside, and why it is where it is: one flat list."""

from __future__ import annotations

from typing import Final

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
RATIO_FREE_ARRAY: Final = 64 << 20
"""Bytes of an array for which no ratio is asked."""
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
MOST_NAME: Final = 1000
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
MOST_NODES: Final = 200_000
"""Operators of an ONNX model, those of its functions as often as they are called; large networks have 10,000."""
MOST_GRAPH_DEPTH: Final = 32
"""Graphs within graphs of an ONNX model."""
MOST_BATCH_SECONDS: Final = 300.0
"""Seconds that one batch may take in a tower; a large network on a slow CPU takes 80."""
