"""Fields of view that overlap from tile to tile, resampled once for all of them.

Tiles side by side show the same tissue again and again in their larger fields, at twice the smallest field four
times. Where all tiles of a grid fall on whole pixels of one resampled plane, the plane is read in blocks, a block
once, and tiles are cut out of it. A pixel is what reading its tile alone would give, to the last bit of rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.base.files.array_cache import ArrayCache
from bleep_cli.tiles.read import field_of, put, read_field
from bleep_cli.types import I64, U8, Slide, TileGrid

SHARED_BYTES = 64 << 20  # blocks kept, enough for the bands of a strip
OFF_LATTICE_PX = 1e-6
WORTH = 0.75  # blocks per tile up to which sharing them costs less than reading tile by tile


@dataclass(frozen=True)
class Lattice:
    """The plane of one field of view, with its origin at the slide's, cut into square blocks."""

    step_l0: float
    """Level-0 pixels per pixel of the plane."""
    px: int
    """Edge of a block, as of a tile, in pixels of the plane."""
    corner: I64
    """i64[n, 2] (x, y) where each tile begins, in pixels of the plane."""

    @classmethod
    def of(cls, grid: TileGrid, field: int) -> Lattice | None:
        """The plane of a field; None where tiles do not fall on whole pixels of one, or hardly overlap."""
        px, step = grid.spec.px, grid.edge_l0(field) / grid.spec.px
        exact = grid.centre_l0 / step - px / 2
        corner = np.rint(exact).astype(np.int64)
        if np.abs(exact - corner).max(initial=0.0) > OFF_LATTICE_PX:
            return None
        plane = cls(step, px, corner)
        return plane if plane.blocks() <= WORTH * len(corner) else None

    def blocks(self) -> int:
        """How many blocks the tiles touch."""
        first, last = self.corner // self.px, -(-self.corner // self.px)
        touched = np.concatenate(
            [np.stack([x, y], axis=1) for x in (first[:, 0], last[:, 0]) for y in (first[:, 1], last[:, 1])]
        )
        touched -= touched.min(axis=0, initial=0)
        return len(np.unique(touched[:, 0] * (touched[:, 1].max(initial=0) + 1) + touched[:, 1]))


class FieldReader:
    """The pixels of a grid's tiles. Several threads may read."""

    def __init__(self, slide: Slide, grid: TileGrid, cache_bytes: int = SHARED_BYTES) -> None:
        self._slide, self._grid = slide, grid
        self._planes = [Lattice.of(grid, field) for field in range(len(grid.spec.um))]
        self._cache = ArrayCache(cache_bytes)

    def read(self, rows: I64, out: U8) -> None:
        """The tiles ``rows`` i64[b] into ``out`` u8[b, px, px, 3 * fields]. SlideError."""
        for field, plane in enumerate(self._planes):
            if plane is None:
                read_field(self._slide, self._grid, rows, field, out)
                continue
            for i, (x, y) in enumerate(plane.corner[rows].tolist()):
                self._cut(plane, field, (x, y), field_of(out[i], field))

    def _cut(self, plane: Lattice, field: int, corner: tuple[int, int], into: U8) -> None:
        """``into`` u8[px, px, 3] from the blocks under it, at most four."""
        px, (x, y) = plane.px, corner
        for row in range(y // px, -(-(y + px) // px)):
            for col in range(x // px, -(-(x + px) // px)):
                left, top = col * px, row * px
                a, b = max(x, left), min(x + px, left + px)
                c, d = max(y, top), min(y + px, top + px)
                block = self._block(plane, field, col, row)
                put(block[c - top : d - top, a - left : b - left], into[c - y : d - y, a - x : b - x])

    def _block(self, plane: Lattice, field: int, col: int, row: int) -> U8:
        edge = plane.px * plane.step_l0

        def make() -> U8:
            return self._slide.read((col * edge, row * edge), (edge, edge), (plane.px, plane.px))

        return self._cache.get((field, col, row), make)
