"""The spots of sections through the image tower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.embedding.embedder import Embedder, embed_grid
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import F32, Progress, Section, TileSpec, no_progress


def embed_sections(
    sections: Sequence[Section],
    embedder: Embedder,
    spec: TileSpec,
    views: int,
    progress: Progress = no_progress,
) -> F32:
    """Unit vectors f32[n, d] of the tiles around all spots, in order, averaged over ``views``.

    Tiles are read and embedded as those of a slide are, overlapped. Raises ``ReferenceError`` for a section most
    of whose spots lie outside its image.
    """
    total, parts, done = sum(len(s.barcodes) for s in sections), [], 0

    def report(_stage: str, embedded: int, _of: int) -> None:
        progress("spots", done + embedded, total)

    for section in sections:
        with section_slide(section) as slide:
            grid = section_grid(section, slide.mpp, spec)
            parts.append(embed_grid(embedder, slide, grid, views, report))
        done += len(section.barcodes)
    return np.concatenate(parts)
