"""An ``outs`` folder of Space Ranger for Visium: a matrix and ``spatial/``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bleep_cli.cohort.readers.join import join
from bleep_cli.cohort.readers.plane import spaceranger_factors, spot_plane
from bleep_cli.cohort.readers.reader import RawSection, Reader, Source
from bleep_cli.cohort.readers.tenx import tenx_h5, tenx_mtx
from bleep_cli.tiles.positions import read_positions

MATRIX = "filtered_feature_bc_matrix"
POSITIONS = ("tissue_positions.csv", "tissue_positions_list.csv", "tissue_positions.parquet")


def read_visium(source: Source) -> RawSection:
    """The filtered matrix, as a folder or as HDF5, with the positions in tissue."""
    spatial = source.path / "spatial"
    positions = next((spatial / form for form in POSITIONS if (spatial / form).is_file()), spatial / POSITIONS[0])
    matrix = source.path / MATRIX
    found = tenx_mtx(matrix) if matrix.is_dir() else tenx_h5(matrix.with_suffix(".h5"))
    counts, gene_ids, symbols, barcodes = found
    spots = read_positions(positions)
    plane = spot_plane(spots.xy_l0, *spaceranger_factors(spatial), (spots.array_row, spots.array_col))
    return replace(join(counts, barcodes, spots, gene_ids, symbols), plane=plane)


def is_visium(path: Path) -> bool:
    """Whether a folder holds ``spatial/``."""
    return (path / "spatial").is_dir()


VISIUM = Reader(what="a Space Ranger folder", sources=("spaceranger",), claims=is_visium, read=read_visium)
