"""A tissue mask that the user gives: GeoJSON polygons, or a picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import UsageError, option
from bleep_cli.types import F64

Polygon = Sequence[Sequence[Sequence[float]]]
"""Rings of (x, y, ...) points, the outline first, then its holes; as JSON has it, so nothing of it is certain."""


def check_mask(path: Path) -> None:
    """Raises ``UsageError`` for a file that cannot be a mask, before a slide is read; a picture is not decoded."""
    if not path.is_file():
        raise UsageError(f"{option('mask')}: no file {path.name}")
    if path.suffix.lower() in (".geojson", ".json"):
        _geojson_mask(path, (1, 1), (0.0, 0.0))
        return
    from PIL import Image, UnidentifiedImageError

    try:
        Image.open(path).close()
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        reason = type(error).__name__  # Pillow's own text tells the whole path
        raise UsageError(f"{option('mask')}: {path.name} is neither GeoJSON nor a picture ({reason})") from error


def read_mask(path: Path, size: tuple[int, int], scale: tuple[float, float]) -> NDArray[np.bool_]:
    """A user's mask on the raster of (w, h) ``size``: GeoJSON polygons in level-0 px, or a PNG over the slide."""
    if not path.is_file():
        raise UsageError(f"{option('mask')}: no file {path.name}")
    if path.suffix.lower() in (".geojson", ".json"):
        return _geojson_mask(path, size, scale)
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            grey = image.convert("L")
            brightest = float(np.asarray(grey).max())  # masks of 0 and 1 are as common as of 0 and 255
            resized = grey.resize(size, Image.Resampling.BOX)
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        reason = type(error).__name__  # Pillow's own text tells the whole path
        raise UsageError(f"{option('mask')}: {path.name} is neither GeoJSON nor a picture ({reason})") from error
    return np.asarray(np.asarray(resized) > brightest / 2, bool)


def _geojson_mask(path: Path, size: tuple[int, int], scale: tuple[float, float]) -> NDArray[np.bool_]:
    from PIL import Image, ImageDraw

    tissue = np.zeros(size[::-1], bool)
    try:
        polygons = list(_polygons(json.loads(path.read_text(encoding="utf-8"))))
        for rings in polygons:  # each on its own: a polygon may lie in the hole of another
            image = Image.new("1", size, 0)
            draw = ImageDraw.Draw(image)
            for i, ring in enumerate(rings):  # the first ring is the outline, the others are holes
                points: F64 = np.asarray(ring, np.float64)[:, :2] * scale
                draw.polygon([(float(x), float(y)) for x, y in points], fill=int(i == 0))
            tissue |= np.asarray(image, bool)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UsageError(
            f"{option('mask')}: {path.name} is not valid GeoJSON ({type(error).__name__}: {error})"
        ) from error
    if not polygons:
        raise UsageError(f"{option('mask')}: {path.name} holds no polygon")
    return tissue


def _polygons(node: Any) -> Iterator[Polygon]:
    """Every polygon in a GeoJSON object, or in QuPath's bare list of features."""
    if isinstance(node, list):
        for item in node:
            yield from _polygons(item)
        return
    kind = node["type"]
    if kind == "FeatureCollection":
        yield from _polygons(node["features"])
    elif kind == "Feature":
        yield from _polygons(node["geometry"])
    elif kind == "GeometryCollection":
        yield from _polygons(node["geometries"])
    elif kind == "Polygon":
        yield node["coordinates"]
    elif kind == "MultiPolygon":
        yield from node["coordinates"]
