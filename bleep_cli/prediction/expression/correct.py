"""The mean of neighbours, corrected for how far they lie from the tile: bias-corrected matching (Abadie & Imbens
2011, J. Bus. Econ. Stat. 29).

No neighbour has just the tile's embedding, and their mean lies towards the middle of the reference. With u the
tile's embedding, u_k those of its neighbours' tiles, y_k what was measured there and B the slope of expression on
image embeddings over the whole reference (``bundle/learned/slope.py``), each neighbour says ``y_k + (u - u_k) B``,
and the mean of that is taken; log1p is not negative, so neither is the result. It is no longer a mixture of
measured profiles alone, but still a sum over the listed neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from bleep_cli.types import F32, Neighbours


def offsets(vectors: F32, neighbours: Neighbours, weights: F32, images: F32) -> F32:
    """f32[m, d]: how far tiles at ``vectors`` f32[m, d] lie from the weighted mean of their neighbours' tiles,
    which are rows of ``images`` f32[n, d]; ``weights`` f32[m, k]."""
    return np.asarray(vectors - np.einsum("mk,mkd->md", weights, images[neighbours.index]), np.float32)


def corrected(blocks: Iterable[tuple[int, F32]], offset: F32, slope: F32) -> Iterator[tuple[int, F32]]:
    """The blocks ``(first row, f32[b, g])`` of ``impute_blocks`` with ``offset`` f32[n, d] times ``slope``
    f32[d, g] added."""
    for first, block in blocks:
        yield first, np.maximum(block + offset[first : first + len(block)] @ slope, 0)


def shifted(blocks: Iterable[tuple[int, F32]], shift: F32) -> Iterator[tuple[int, F32]]:
    """The blocks ``(first row, f32[b, g])`` with ``shift`` f32[g] added to every row, but never below 0."""
    for first, block in blocks:
        yield first, np.maximum(block + shift, 0)


def at_least_0(blocks: Iterable[tuple[int, F32]]) -> Iterator[tuple[int, F32]]:
    """The blocks ``(first row, f32[b, g])``, nowhere below 0."""
    for first, block in blocks:
        yield first, np.maximum(block, 0)
