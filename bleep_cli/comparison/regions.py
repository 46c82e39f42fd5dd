"""Which tiles of a result lie in which region of its slide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import UsageError, option
from bleep_cli.tiles.mask_file.geojson import Area, GeoJson
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.types import F64, Bool, Prediction

WHOLE = "all tissue"
"""The region of all tiles in tissue."""
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


def tiles_of(prediction: Prediction, path: Path | None, origin: Plane) -> Mapping[str, Bool]:
    """bool[n] by region: tiles in tissue, and of these the ones whose centre lies in polygons of each class.

    A tile in polygons of several classes counts in each; polygons of ``Ignore*`` are cut out. Coordinates count
    from the corner of the scanned part, as QuPath has them, or with ``origin`` "level0" from that of the slide.
    ``UsageError`` for a file that holds no polygons.
    """
    tissue = prediction.in_tissue if prediction.in_tissue.any() else np.ones(len(prediction.grid), bool)
    found = {WHOLE: tissue}
    if path is None:
        return found
    given = _read(path)
    corner = prediction.provenance.get("slide", {}).get("bounds_l0", (0, 0))[:2]
    points = prediction.grid.centre_l0 - (np.zeros(2) if origin == "level0" else np.asarray(corner, np.float64))
    cut = _inside(given.cut, points)
    for label in dict.fromkeys(area.label for area in given.areas):
        inside = _inside([area for area in given.areas if area.label == label], points)
        found[label] = inside & tissue & ~cut
    return found


def _read(path: Path) -> GeoJson:
    try:
        given = read_mask_file(path)
    except UsageError as error:
        raise UsageError(error.text.replace(option("mask"), option("regions"))) from error
    if not isinstance(given, GeoJson):
        raise UsageError(f"{option('regions')}: {path.name} is a picture; give GeoJSON with classes")
    return given


def _inside(areas: list[Area], points: F64) -> Bool:
    from matplotlib.path import Path as Outline

    found = np.zeros(len(points), bool)
    for area in areas:
        outline, *holes = (Outline(ring).contains_points(points) for ring in area.rings)
        for hole in holes:
            outline &= ~hole
        found |= outline
    return found
