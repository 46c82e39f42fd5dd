"""GeoJSON as masks come in it: QuPath's exports of every version, and what other programs write.

A class is what QuPath calls one: ``properties.classification``, of QuPath before 0.4 and since, derived classes
("Tumor: Stroma") too. As in QuPath, a class whose name ends with an asterisk is one to ignore (``Ignore*``); only
``Region*`` outlines a region.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bleep_cli.base.reasons import did_you_mean
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.limits import MOST_CROSSINGS, MOST_MASK_POINTS, over
from bleep_cli.tiles.mask_file import polygons
from bleep_cli.types import F64, Bool

UNCLASSIFIED = "Unclassified"
NO_AREA = ("Point", "MultiPoint", "LineString", "MultiLineString")


class BrokenError(ValueError):
    """What is wrong with a GeoJSON, and where in it."""


@dataclass(frozen=True)
class Area:
    """One polygon."""

    rings: tuple[F64, ...]
    """f64[n, 2] (x, y) each, the outline first, then its holes."""
    label: str
    """Its class."""


class GeoJson:
    """The polygons of a file that are tissue, and those that are cut out of it, in level-0 px as it counts them.

    ``UsageError`` for what is no GeoJSON, has no polygon, or none of the ``classes`` asked for.
    """

    def __init__(self, raw: bytes, name: str, classes: Sequence[str]) -> None:
        reader = _Reader()
        try:
            reader.read(json.loads(raw), "the file", UNCLASSIFIED)
        except RecursionError:
            raise UsageError(f"{option('mask')}: {name} is not valid GeoJSON: it is nested too deeply") from None
        except ValueError as error:  # JSON's and UTF's errors are ValueErrors, too
            raise UsageError(f"{option('mask')}: {name} is not valid GeoJSON: {error}") from error
        points = sum(len(ring) for area in reader.areas for ring in area.rings)
        if points > MOST_MASK_POINTS:
            told = over(f"{name} of {points:,} corners", "MOST_MASK_POINTS")
            raise UsageError(f"{option('mask')}: {told}; simplify its outlines")
        if not reader.areas:
            raise UsageError(f"{option('mask')}: {name} holds no polygon{reader.passed_over()}")
        self.name = name
        taken = _choose(Counter(area.label for area in reader.areas), classes, name)
        self.areas = [area for area in reader.areas if area.label in taken]
        """Those that are tissue."""
        self.cut = [area for area in reader.areas if _ignored(area.label) and area.label not in taken]
        """Those that are cut out of it."""
        self.findings = tuple(_findings(reader, taken, name))

    @property
    def points(self) -> F64:
        """f64[n, 2] corners of every outline."""
        return np.concatenate([area.rings[0] for area in self.areas])

    def laid(self, size: tuple[int, int], scale: float, corner_l0: tuple[float, float]) -> Bool:
        """The tissue on a raster (w, h) of ``scale`` pixels per level-0 pixel, its (0, 0) at ``corner_l0``."""
        tissue = np.zeros(size[::-1], bool)
        placed = [[(ring + corner_l0) * scale for ring in area.rings] for area in (*self.areas, *self.cut)]
        crossed = sum(polygons.crossings(rings, size) for rings in placed)
        if crossed > MOST_CROSSINGS:
            told = over(f"{self.name}, whose edges cross {crossed:,} rows of pixels,", "MOST_CROSSINGS")
            raise UsageError(f"{option('mask')}: {told}; simplify its outlines")
        for areas, value in ((self.areas, True), (self.cut, False)):
            for area in areas:  # each on its own: a polygon may lie in the hole of another
                tissue[polygons.fill([(ring + corner_l0) * scale for ring in area.rings], size)] = value
        return tissue


class _Reader:
    """Walks a JSON value; ``BrokenError`` says where it is no GeoJSON."""

    def __init__(self) -> None:
        self.areas: list[Area] = []
        self.empty, self.without_area = 0, 0

    def read(self, node: Any, where: str, label: str) -> None:
        if node is None:
            self.empty += 1
        elif isinstance(node, list):  # QuPath's bare list of features
            for item, place in _numbered(node, where):
                self.read(item, place, label)
        elif isinstance(node, dict):
            self._object(node, where, label)
        else:
            raise BrokenError(f"{where} is {json.dumps(node)[:40]}, no GeoJSON object")

    def passed_over(self) -> str:
        """What was no polygon, to stand in brackets behind a sentence."""
        parts = [f"points or lines: {self.without_area}"] * bool(self.without_area)
        parts += [f"without a geometry: {self.empty}"] * bool(self.empty)
        return f" ({'; '.join(parts)})" if parts else ""

    def _object(self, node: Mapping[str, Any], where: str, label: str) -> None:
        kind = node.get("type")
        if kind == "Feature":
            properties = node.get("properties") or {}
            self.read(node.get("geometry"), f"the geometry of {where}", _class_of(properties, label))
            for children in ("childObjects", "children"):  # of QuPath's hierarchies
                self.read(_get(properties, children) or [], f"{children} of {where}", UNCLASSIFIED)
        elif kind in ("FeatureCollection", "GeometryCollection"):
            held = "features" if kind == "FeatureCollection" else "geometries"
            items = node.get(held)
            if not isinstance(items, list):
                raise BrokenError(f"{where} is a {kind} without a list of {held}")
            for item, place in _numbered(items, f"{held} of {where}"):
                self.read(item, place, label)
        elif kind in ("Polygon", "MultiPolygon"):
            coordinates = node.get("coordinates")
            parts = [coordinates] if kind == "Polygon" else coordinates
            if not isinstance(parts, list):
                raise BrokenError(f"{where} is a {kind} without a list of coordinates")
            for part in parts:
                self._polygon(part, where, label)
        elif kind in NO_AREA:
            self.without_area += 1
        else:
            raise BrokenError(f"{where} has the type {json.dumps(kind)[:40]}, which GeoJSON does not know")

    def _polygon(self, rings: Any, where: str, label: str) -> None:
        if not isinstance(rings, list):
            raise BrokenError(f"{where}: a polygon is a list of rings")
        if rings:
            self.areas.append(Area(tuple(_ring(ring, where) for ring in rings), label))
        else:
            self.empty += 1


def _numbered(items: list[Any], where: str) -> Iterator[tuple[Any, str]]:
    for number, item in enumerate(items, 1):
        yield item, f"number {number} in {where}"


def _ring(ring: Any, where: str) -> F64:
    try:
        points = np.array([point[:2] for point in ring], np.float64)
    except (TypeError, ValueError, KeyError, IndexError):
        points = np.empty(0)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise BrokenError(f"{where}: a ring is a list of points [x, y], all of them numbers")
    if len(points) < 3:
        raise BrokenError(f"{where}: a ring of {len(points)} points has no area")
    return points


def _get(properties: Any, key: str) -> Any:
    return properties.get(key) if isinstance(properties, dict) else None


def _class_of(properties: Any, otherwise: str) -> str:
    """The class of a feature, from any form that QuPath has written."""
    found = _get(properties, "classification")
    if isinstance(found, dict):  # "names" of derived classes since 0.4, "name" of all others
        names = found.get("names")
        found = ": ".join(map(str, names)) if isinstance(names, list) and names else found.get("name")
    return found.strip() if isinstance(found, str) and found.strip() else otherwise


def _ignored(label: str) -> bool:
    return any(part.strip().endswith("*") and part.strip() != "Region*" for part in label.split(":"))


def _choose(labels: Counter[str], classes: Sequence[str], name: str) -> set[str]:
    """The classes of a file that are taken: those asked for with all derived of them, or all but the ignored."""
    taken: set[str] = set()
    for asked in classes:
        plain = asked.casefold()
        found = {label for label in labels if f"{label.casefold()}:".startswith(f"{plain}:")}
        if not found:
            raise UsageError(
                f"{option('mask_class')} {asked}: {name} has {_counted(labels)}{did_you_mean(asked, labels)}"
            )
        taken |= found
    if not classes:
        taken = {label for label in labels if not _ignored(label)}
        if not taken:
            raise UsageError(
                f"{option('mask')}: {name} has only classes to ignore ({_counted(labels)}); "
                f"take one all the same with {option('mask_class')}"
            )
    return taken


def _counted(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} ({n})" for label, n in sorted(labels.items()))


def _findings(reader: _Reader, taken: set[str], name: str) -> Iterator[Finding]:
    labels = Counter(area.label for area in reader.areas)
    if set(labels) != {UNCLASSIFIED}:
        left = {label: n for label, n in labels.items() if label not in taken}
        what = f"tissue of {name} are its classes {_counted({label: labels[label] for label in taken})}"
        what += f"; left out: {_counted(left)}" if left else ""
        yield Finding("mask-classes", what, mend=f"{option('mask_class')} names others")
    if reader.empty or reader.without_area:
        yield Finding("mask-passed-over", f"what is no polygon of {name} was passed over{reader.passed_over()}")
