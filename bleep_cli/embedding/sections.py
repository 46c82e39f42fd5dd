"""The spots of sections through the image tower."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.tiles.read import stream_tiles
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.towers.encoder import OnnxEncoder, embed_views
from bleep_cli.types import F32, Progress, Section, TileSpec, no_progress

BATCH_TILES = 32


def embed_sections(
    sections: Sequence[Section],
    encoder: OnnxEncoder,
    spec: TileSpec,
    views: int,
    progress: Progress = no_progress,
) -> F32:
    """Unit vectors f32[n, d] of the tiles around all spots, in order, averaged over ``views``.

    Raises ``ReferenceError`` for a section most of whose spots lie outside its image.
    """
    total, parts, done = sum(len(s.barcodes) for s in sections), [], 0
    for section in sections:
        with section_slide(section) as slide:
            for _, tiles in stream_tiles(slide, section_grid(section, slide.mpp, spec), BATCH_TILES):
                progress("spots", done, total)
                parts.append(embed_views(encoder, tiles, views))
                done += len(tiles)
    progress("spots", total, total)
    return np.concatenate(parts)
