"""Which tiles of a result lie in which region of its slide."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.mask_file.geojson import Area, GeoJson
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.tiles.outlines import lay_outlines, off_tissue
from bleep_cli.tiles.tissue.ground import MASK_PX, Boxes
from bleep_cli.types import F64, Bool, Prediction, TileGrid

WHOLE = "all tissue"
"""The region of all tiles in tissue."""
TILE_PX = 4  # of the raster that regions are laid on, for the edge of a tile; fewer on large slides
_ENDINGS = (".gz", ".zip", ".json", ".geojson")


def slide_of(path: Path) -> str:
    """The slide that a file of regions is named after."""
    name = path.name
    while name.lower().endswith(_ENDINGS):
        name = name.rpartition(".")[0]
    return name


def region_files(given: Sequence[Path | str]) -> list[Path]:
    """The files that are given, and those in folders that are given; ``UsageError`` where two are of one slide."""
    found: list[Path] = []
    for path in map(Path, given):
        inside = sorted(entry for entry in path.iterdir() if ".geojson" in entry.suffixes) if path.is_dir() else []
        if path.is_dir() and not inside:
            raise UsageError(f"{option('regions')}: {path.name} holds no .geojson")
        found += inside or [path]
    names = [slide_of(path) for path in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"{option('regions')}: several files are named after {', '.join(twice)}")
    return found


def tiles_of(
    prediction: Prediction, path: Path | None, origin: Plane
) -> tuple[Mapping[str, Bool], tuple[Finding, ...]]:
    """bool[n] by region: tiles in tissue, and of these the ones whose centre lies in polygons of each class.

    A tile in polygons of several classes counts in each; polygons of ``Ignore*`` are cut out. On a slide with
    bounds ``origin`` says what coordinates count from, or it is told as for a mask, and is a finding.
    ``UsageError`` for a file that holds no polygons, ``SlideError`` where none of them touches the slide.
    """
    tissue = prediction.in_tissue if prediction.in_tissue.any() else np.ones(len(prediction.grid), bool)
    found = {WHOLE: tissue}
    if path is None:
        return found, ()
    with _of_regions():
        given = _read(path)
        slide = _slide(prediction)
        ground = _ground(prediction.grid, tissue, slide.size_l0)
        laid = lay_outlines(slide, ground, given, origin)
    points = prediction.grid.centre_l0 - laid.corner_l0
    cut = _inside(given.cut, points)
    for label in dict.fromkeys(area.label for area in given.areas):
        inside = _inside([area for area in given.areas if area.label == label], points)
        found[label] = inside & tissue & ~cut
    passed_over = (finding for finding in given.findings if finding.code != "mask-classes")
    return found, (*passed_over, *laid.findings, *off_tissue(slide, ground, laid.tissue, given.name))


@contextmanager
def _of_regions() -> Iterator[None]:
    """Errors name the option that regions are given by, not a mask's."""
    try:
        yield
    except UsageError as error:
        raise UsageError(error.text.replace(option("mask"), option("regions"))) from error


def _read(path: Path) -> GeoJson:
    given = read_mask_file(path)
    if not isinstance(given, GeoJson):
        raise UsageError(f"{option('regions')}: {path.name} is a picture; give GeoJSON with classes")
    return given


@dataclass(frozen=True)
class _Slide:
    """What a result tells of its slide."""

    name: str
    size_l0: tuple[int, int]
    bounds_l0: tuple[int, int, int, int]


def _slide(prediction: Prediction) -> _Slide:
    said = prediction.provenance.get("slide", {})
    grid = prediction.grid
    far = np.ceil(grid.centre_l0.max(axis=0) + grid.pitch_um / grid.mpp).astype(int).tolist()
    width, height = (int(said.get(name, end)) for name, end in zip(("width_px", "height_px"), far, strict=True))
    x, y, w, h = (int(value) for value in said.get("bounds_l0", (0, 0, width, height)))
    return _Slide(str(said.get("name", prediction.slide_id)), (width, height), (x, y, w, h))


@dataclass(frozen=True)
class _Ground:
    """The tiles of a result as the tissue of its slide."""

    scale: float
    stained: Bool


def _ground(grid: TileGrid, tissue: Bool, size_l0: tuple[int, int]) -> _Ground:
    edge_l0 = grid.pitch_um / grid.mpp
    scale = min(MASK_PX / max(size_l0), TILE_PX / edge_l0)
    width, height = (max(1, math.ceil(side * scale)) for side in size_l0)
    stained = np.zeros((height, width), bool)
    boxes = Boxes((width, height), grid.centre_l0[tissue], edge_l0, scale)
    for (left, top), (right, bottom) in zip(boxes.low.tolist(), boxes.high.tolist(), strict=True):
        stained[top:bottom, left:right] = True
    return _Ground(scale, stained)


def _inside(areas: list[Area], points: F64) -> Bool:
    from matplotlib.path import Path as Outline

    found = np.zeros(len(points), bool)
    for area in areas:
        outline, *holes = (Outline(ring).contains_points(points) for ring in area.rings)
        for hole in holes:
            outline &= ~hole
        found |= outline
    return found
