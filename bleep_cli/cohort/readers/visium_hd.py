"""Visium HD: an ``outs`` folder whose squares, or whose cells since Space Ranger 4, are the spots.

``binned_outputs/square_008um`` and its like are each laid out as a Visium folder. ``segmented_outputs`` holds
``filtered_feature_cell_matrix`` and, as GeoJSON, the outlines of the cells in full-resolution pixels; the cell of
number 7 has the barcode ``cellid_000000007-1`` in the matrix and ``cell_id`` 7 in the outlines.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.json_file import read_json
from bleep_cli.cohort.parts.join import join
from bleep_cli.cohort.parts.outlines import ring_centroid
from bleep_cli.cohort.parts.plane import factors_in
from bleep_cli.cohort.parts.reader import Key, RawSection, Reader, Source
from bleep_cli.cohort.readers.tenx import tenx
from bleep_cli.cohort.readers.visium import one_of, visium_section
from bleep_cli.errors import ReferenceError
from bleep_cli.tiles.positions import Positions
from bleep_cli.types import F64, Str

BINNED, CELLS = "binned_outputs", "segmented_outputs"
SQUARE = re.compile(r"square_(\d+um)$")
CELL_MATRICES = (re.compile(r"filtered_feature_cell_matrix(\.h5)?$"),)
OUTLINES = tuple(
    re.compile(pattern) for pattern in (r"^(.*_)?cell_segmentations\.geojson$", r"nucleus_segmentations\.geojson$")
)


def bins(outs: Path) -> list[str]:
    """What there is to pick from: sizes of the squares, ``cells``."""
    squares = _squares(outs)
    return [*sorted(squares), *(["cells"] if (outs / CELLS).is_dir() else [])]


def _squares(outs: Path) -> dict[str, Path]:
    places = [outs / BINNED, outs]
    found = [(SQUARE.search(path.name), path) for place in places if place.is_dir() for path in place.iterdir()]
    return {match.group(1): path for match, path in found if match and path.is_dir()}


def read_hd(source: Source) -> RawSection:
    """The squares of one size, or the cells."""
    picked = source.entry.get("bin") or bins(source.path)[0]
    if picked == "cells":
        return cells_of(source.path / CELLS)
    return visium_section(_squares(source.path)[picked])


def read_cells(source: Source) -> RawSection:
    """The cells of a folder ``segmented_outputs``."""
    return cells_of(source.path)


def cells_of(folder: Path) -> RawSection:
    """The cells, placed at the centroids of their outlines."""
    counted = tenx(one_of(folder, CELL_MATRICES, "filtered_feature_cell_matrix.h5"))
    outlines = _first_of(folder, "cell_segmentations.geojson")
    names, xy = cell_centroids(read_json(outlines, "MOST_TEXT_BYTES"), outlines.name)
    row = np.arange(len(names), dtype=np.int64)
    positions = Positions(names, xy, row, np.zeros_like(row), np.ones(len(names), dtype=bool))
    return join(counted, positions, factors=factors_in(folder / "spatial"))


def _first_of(folder: Path, wanted: str) -> Path:
    for pattern in OUTLINES:
        found = sorted(path for path in folder.iterdir() if pattern.search(path.name))
        if found:
            return min(found, key=lambda path: len(path.name))
    raise ReferenceError(f"{folder.name} has no {wanted}")


def cell_centroids(table: Any, name: str) -> tuple[Str, F64]:
    """(barcodes str[n], centroids f64[n, 2] in (x, y)) of outlines in GeoJSON. ``ReferenceError`` for others."""
    features = table.get("features") if isinstance(table, dict) else None
    if not isinstance(features, list):
        raise ReferenceError(f"{name} is no GeoJSON FeatureCollection")
    names, centres = [], []
    for feature in features:
        geometry = feature.get("geometry") or {}
        kinds = {"Polygon": lambda shape: [shape[0]], "MultiPolygon": lambda shape: [part[0] for part in shape]}
        if geometry.get("type") not in kinds:
            continue
        rings = [np.asarray(ring, np.float64)[:, :2] for ring in kinds[geometry["type"]](geometry["coordinates"])]
        cell = feature["properties"]["cell_id"]
        names.append(f"cellid_{cell:09d}-1" if isinstance(cell, int) else str(cell))
        centres.append(ring_centroid(rings))
    return np.array(names, dtype=str), np.array(centres, np.float64).reshape(-1, 2)


def is_hd(path: Path) -> bool:
    """Whether a folder holds squares, or cells beside them."""
    return path.is_dir() and bool(bins(path))


def is_cells(path: Path) -> bool:
    """Whether a folder holds cells."""
    return path.is_dir() and any(CELL_MATRICES[0].search(file.name) for file in path.iterdir())


VISIUM_HD = Reader(
    what="a Space Ranger folder of Visium HD",
    sources=("spaceranger",),
    claims=is_hd,
    read=read_hd,
    keys=(Key("bin"),),
    pick="bin",
    sections=bins,
)
HD_CELLS = Reader(
    what="a folder of segmented cells",
    sources=("spaceranger",),
    claims=is_cells,
    read=read_cells,
)
