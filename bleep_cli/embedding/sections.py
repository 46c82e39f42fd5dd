"""The spots of sections through the image tower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.embedding.embedder import Embedder, see_grid
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import F32, Progress, Section, TileSpec, no_progress


def embed_sections(
    sections: Sequence[Section],
    embedder: Embedder,
    spec: TileSpec,
    views: int,
    progress: Progress = no_progress,
) -> F32:
    """Unit vectors f32[n, d] of the tiles around all spots, as :func:`see_sections` gives them."""
    return see_sections(sections, embedder, spec, views, progress)[0]


def see_sections(
    sections: Sequence[Section],
    embedder: Embedder,
    spec: TileSpec,
    views: int,
    progress: Progress = no_progress,
) -> tuple[F32, F32]:
    """Unit vectors f32[n, d] of the tiles around all spots and their looks f32[n, l], in order, averaged over
    ``views``.

    Tiles are read and embedded as those of a slide are, overlapped. Raises ``ReferenceError`` for a section most
    of whose spots lie outside its image.
    """
    total, parts, done = sum(len(s.barcodes) for s in sections), [], 0

    def report(_stage: str, embedded: int, _of: int) -> None:
        progress("spots", done + embedded, total)

    for section in sections:
        with section_slide(section) as slide:
            grid = section_grid(section, slide.mpp, spec)
            parts.append(see_grid(embedder, slide, grid, views, report))
        done += len(section.barcodes)
    vectors, looks = zip(*parts, strict=True)
    return np.concatenate(vectors), np.concatenate(looks)
