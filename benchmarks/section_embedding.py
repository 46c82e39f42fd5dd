"""The spots of a cohort through the image tower of a bundle: overlapped as build-reference does it, against one
batch after the other as it did before, and against the tower alone.

    python benchmarks/section_embedding.py COHORT BUNDLE [--views 8] [--repeats 3] [--json FILE]

All in one process, in turn, with the tiles of the same sections; seconds are medians, the ratios are those of the
same round. The vectors have to agree: the largest difference is printed. The tower alone is on tiles in memory.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from side_by_side import median, report

from bleep_cli import open_bundle, read_cohort
from bleep_cli.bundle.open import Bundle
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import embed_sections
from bleep_cli.tiles.read import stream_tiles
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.towers.encoder import OnnxEncoder, embed_views
from bleep_cli.types import F32, Section

BATCH_TILES = 32
TOWER_BATCHES = 8  # in every embedding thread


def one_after_the_other(sections: Sequence[Section], encoder: OnnxEncoder, bundle: Bundle, views: int) -> F32:
    """Each batch read, then embedded by all cores."""
    parts = []
    for section in sections:
        with section_slide(section) as slide:
            grid = section_grid(section, slide.mpp, bundle.info.tile)
            parts += [embed_views(encoder, tiles, views) for _, tiles in stream_tiles(slide, grid, BATCH_TILES)]
    return np.concatenate(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()

    bundle, sections = open_bundle(given.bundle), read_cohort(given.cohort)
    encoder, embedder = OnnxEncoder(bundle.tower("image"), "cpu"), embedder_of(bundle.tower("image"), "cpu")
    before, after, alone, apart = [], [], [], 0.0
    for _ in range(given.repeats):
        start = time.perf_counter()
        old = one_after_the_other(sections, encoder, bundle, given.views)
        middle = time.perf_counter()
        new = embed_sections(sections, embedder, bundle.info.tile, given.views)
        after.append(time.perf_counter() - middle)
        before.append(middle - start)
        alone.append(len(new) * embedder.seconds_per_tile(given.views, TOWER_BATCHES))
        apart = max(apart, float(np.abs(old - new).max()))
    ratios = [a / b for a, b in zip(before, after, strict=True)]
    shares = [tower / whole for tower, whole in zip(alone, after, strict=True)]
    row = {
        "tower": given.bundle.name,
        "spots": len(new),
        "views": given.views,
        "one after the other s": median(before, 1),
        "overlapped s": median(after, 1),
        "times as fast": median(ratios, 2),
        "tower alone s": median(alone, 1),
        "of the tower's rate": median(shares, 2),
        "largest difference": f"{apart:.1e}",
    }
    report([row], given.json)


if __name__ == "__main__":
    main()
