"""Tiles without expression: the tissue between the spots of a section, as many as one likes."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
from scipy import sparse

from bleep_cli.tiles.grid import grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.tiles.section import section_slide
from bleep_cli.types import Section, TileSpec

MIN_TISSUE = 0.5  # of a cell of the grid


def dense_section(section: Section, spec: TileSpec, stride_um: float) -> Section:
    """The same image with a spot every ``stride_um`` of its tissue, none of them measured: no gene is counted.

    Raises ``SlideError`` for an image without tissue, ``ReferenceError`` for one that cannot be used.
    """
    with section_slide(section) as slide:
        grid = grid_over_tissue(slide, find_tissue(slide), spec, stride_um, MIN_TISSUE).grid
    digest = hashlib.sha256(f"{section.sha256} every {stride_um} um".encode())
    digest.update(np.ascontiguousarray(grid.centre_l0).tobytes())
    return replace(
        section,
        id=f"{section.id}-every-{stride_um:g}-um",
        sha256=digest.hexdigest(),
        counts=sparse.csr_matrix((len(grid), len(section.symbols)), dtype=np.float32),
        barcodes=grid.tile_id,
        xy_l0=grid.centre_l0,
        findings=(),
    )
