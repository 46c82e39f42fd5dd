"""GeoJSON masks: every form they come in, the exact area, classes, and what is wrong with a broken one."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tissue import Bools, H, W, disc, find, stain

from bleep_cli.errors import SlideError, UsageError
from bleep_cli.tiles.mask import Mask
from bleep_cli.tiles.mask_file import polygons
from bleep_cli.tiles.mask_file.polygons import area, fill
from bleep_cli.types import U8

SCALE = 8  # level-0 px per pixel of the mask: a slide of 1920 × 1120 px of 1 µm


def square(x: float, y: float, edge: float) -> list[list[float]]:
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def feature(geometry: Any, classification: Any = None) -> dict[str, Any]:
    properties = {} if classification is None else {"objectType": "annotation", "classification": classification}
    return {"type": "Feature", "properties": properties, "geometry": geometry}


def collection(*features: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


OUTER, HOLE, ISLAND = square(80, 320, 480), square(160, 480, 160), square(208, 528, 64)
RIGHT = square(1040, 80, 240)


def region(x: int, y: int, edge: int) -> Bools:
    out = np.zeros((H, W), bool)
    out[y // SCALE : (y + edge) // SCALE, x // SCALE : (x + edge) // SCALE] = True
    return out


LEFT_PART, RIGHT_PART = region(80, 320, 480) & ~region(160, 480, 160), region(1040, 80, 240)


def picture() -> U8:
    """Stained where the squares lie."""
    stained = stain(region(80, 320, 480) | RIGHT_PART)
    return np.repeat(np.repeat(stained, SCALE, axis=0), SCALE, axis=1)


def read(folder: Path, value: Any, **chosen: Any) -> Mask:
    path = folder / "mask.geojson"
    path.write_text(json.dumps(value), encoding="utf-8")
    return find(folder, picture(), mpp=1.0, mask=path, **chosen)


FORMS = {
    "polygon": polygon(OUTER, HOLE),
    "feature": feature(polygon(OUTER, HOLE)),
    "collection": collection(feature(polygon(OUTER, HOLE))),
    "QuPath's list": [feature(polygon(OUTER, HOLE))],
    "list of geometries": [polygon(OUTER, HOLE)],
    "multipolygon": {"type": "MultiPolygon", "coordinates": [[OUTER, HOLE]]},
    "geometries": {"type": "GeometryCollection", "geometries": [polygon(OUTER, HOLE)]},
    "feature of geometries": feature({"type": "GeometryCollection", "geometries": [polygon(OUTER, HOLE)]}),
    "heights": polygon([[*point, 7.0] for point in OUTER], [[*point, 7.0] for point in HOLE]),
    "open rings": polygon(OUTER[:-1], HOLE[:-1]),
    "QuPath's hierarchy": {
        "type": "Feature",
        "geometry": None,
        "properties": {"objectType": "root", "childObjects": [feature(polygon(OUTER, HOLE))]},
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_geojson_in_level_0_pixels_with_a_hole(tmp_path: Path, form: str) -> None:
    found = read(tmp_path, FORMS[form]).tissue
    np.testing.assert_array_equal(found, LEFT_PART)  # [y, x]: neither axis is swapped


@pytest.mark.parametrize("order", [1, -1])
def test_a_polygon_in_the_hole_of_another_is_tissue(tmp_path: Path, order: int) -> None:
    shapes = [feature(polygon(OUTER, HOLE)), feature(polygon(ISLAND))][::order]
    np.testing.assert_array_equal(read(tmp_path, shapes).tissue, LEFT_PART | region(208, 528, 64))


def test_text_of_any_encoding_packed_or_not(tmp_path: Path) -> None:
    text = json.dumps(collection(feature(polygon(OUTER, HOLE), {"name": "Tumör"})), ensure_ascii=False)
    kinds: dict[str, bytes] = {
        "bom.geojson": text.encode("utf-8-sig"),
        "utf16.json": text.encode("utf-16"),
        "a.geojson.gz": gzip.compress(text.encode()),
        "b.gz": gzip.compress(text.encode("utf-8-sig")),
        "mask.txt": b" \n" + text.encode(),
    }
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("annotations/a.geojson", text)
        archive.writestr("__MACOSX/annotations/._a.geojson", "x")
    for name, raw in kinds.items():
        (tmp_path / name).write_bytes(raw)
    for name in (*kinds, "c.zip"):
        mask = find(tmp_path, picture(), mpp=1.0, mask=tmp_path / name)
        np.testing.assert_array_equal(mask.tissue, LEFT_PART)
        assert "Tumör (1)" in mask.findings[0].what


# --- areas


@pytest.mark.parametrize(
    ("ring", "pixels"),
    [
        ([[10, 10], [60, 10], [60, 40], [10, 40]], 1500),
        ([[10.4, 10.4], [60.4, 10.4], [60.4, 40.4], [10.4, 40.4]], 1500),
        ([[0, 0], [100, 0], [0, 80]], 4000),
        ([[20, 5], [21, 5], [21, 75], [20, 75]], 70),
        ([[20, 5], [20.3, 5], [20.3, 75], [20, 75]], 0),
        ([[-50, -50], [150, -50], [150, 150], [-50, 150]], 8000),
        ([[-1e300, -1e300], [1e300, -1e300], [1e300, 1e300], [-1e300, 1e300]], 8000),
        ([[200, 200], [300, 200], [300, 300]], 0),
        ([[10, 10], [60, 10], [60, 40], [10, 40]][::-1], 1500),
    ],
)
def test_a_pixel_belongs_to_a_polygon_when_its_centre_does(ring: Any, pixels: int) -> None:
    assert fill([np.array(ring, float)], (100, 80)).sum() == pixels


@pytest.mark.parametrize("crossings", [7, 4_000_000])
def test_areas_are_those_of_the_polygons(monkeypatch: pytest.MonkeyPatch, crossings: int) -> None:
    monkeypatch.setattr(polygons, "CROSSINGS", crossings)
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(60):
        angle = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 40)))
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        ring = rng.uniform(40, 60, 2) + circle * rng.uniform(15, 35, (len(angle), 1))
        hole = ring.mean(axis=0) + circle * 3
        exact = area([ring, hole])
        edge = np.linalg.norm(np.diff(ring, axis=0, append=ring[:1]), axis=1).sum()
        assert abs(fill([ring, hole], (100, 100)).sum() - exact) < 0.5 * edge
        ratios.append(fill([ring, hole], (100, 100)).sum() / exact)
    assert np.mean(ratios) == pytest.approx(1, abs=0.005)


# --- classes

TUMOUR, STROMA, IGNORE = ({"name": name, "colorRGB": -3670016} for name in ("Tumor", "Stroma", "Ignore*"))
CLASSES = {
    "of QuPath 0.2": {"name": "Ignore*", "colorRGB": -5131855},
    "of QuPath 0.4": {"name": "Ignore*", "color": [180, 180, 180]},
    "derived": {"names": ["Ignore*", "Positive"], "color": [1, 2, 3]},
    "derived from another": {"name": "Tumor: Ignore*"},
    "a bare name": "Ignore*",
    "one's own": {"name": "Fold*"},
}


@pytest.mark.parametrize("form", CLASSES)
def test_what_qupath_ignores_is_no_tissue_and_is_cut_out(tmp_path: Path, form: str) -> None:
    shapes = collection(
        feature(polygon(OUTER), TUMOUR),
        feature(polygon(HOLE), CLASSES[form]),
        feature(polygon(RIGHT), CLASSES[form]),
    )
    mask = read(tmp_path, shapes)
    np.testing.assert_array_equal(mask.tissue, LEFT_PART)
    (told,) = mask.findings
    assert (told.code, told.severity) == ("mask-classes", "note")
    assert "classes Tumor (1); left out: " in told.what and "* (2)" in f"{told.what}".replace(": Positive", "")


def test_a_region_and_unclassified_features_are_tissue(tmp_path: Path) -> None:
    mask = read(tmp_path, collection(feature(polygon(OUTER, HOLE), {"name": "Region*"}), feature(polygon(RIGHT))))
    np.testing.assert_array_equal(mask.tissue, LEFT_PART | RIGHT_PART)
    assert "classes Region* (1), Unclassified (1)" in mask.findings[0].what
    assert not read(tmp_path, collection(feature(polygon(RIGHT)))).findings


def test_classes_are_chosen_by_name_with_those_derived_of_them(tmp_path: Path) -> None:
    shapes = collection(
        feature(polygon(OUTER, HOLE), {"names": ["Tumor", "Positive"]}),
        feature(polygon(ISLAND), IGNORE),
        feature(polygon(RIGHT), STROMA),
    )
    np.testing.assert_array_equal(read(tmp_path, shapes, classes=("tumor",)).tissue, LEFT_PART)
    np.testing.assert_array_equal(read(tmp_path, shapes, classes=("Tumor: Positive",)).tissue, LEFT_PART)
    np.testing.assert_array_equal(read(tmp_path, shapes, classes=("Stroma",)).tissue, RIGHT_PART)
    both = read(tmp_path, shapes, classes=("Tumor", "Stroma", "Ignore*")).tissue
    np.testing.assert_array_equal(both, LEFT_PART | RIGHT_PART | region(208, 528, 64))
    with pytest.raises(
        UsageError, match=r"^mask_class Tum: mask\.geojson has Ignore\* \(1\), Stroma \(1\), Tumor: Positive"
    ):
        read(tmp_path, shapes, classes=("Tum",))


def test_a_file_of_nothing_but_ignored_classes_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^mask: mask\.geojson has only classes to ignore \(Ignore\* \(1\)\)"):
        read(tmp_path, collection(feature(polygon(OUTER), IGNORE)))


# --- what is none


def test_what_is_no_polygon_is_passed_over_and_counted(tmp_path: Path) -> None:
    line = {"type": "LineString", "coordinates": [[1, 2], [3, 4]]}
    point = {"type": "Point", "coordinates": [1, 2]}
    shapes = collection(feature(None), feature(line), feature(polygon(OUTER, HOLE)), feature(point), None)
    mask = read(tmp_path, shapes)
    np.testing.assert_array_equal(mask.tissue, LEFT_PART)
    assert [(told.code, told.where) for told in mask.findings] == [("mask-passed-over", "slide.png")]
    assert mask.findings[0].what.endswith("(points or lines: 2; without a geometry: 2)")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (collection(), "holds no polygon"),
        ({"type": "Point", "coordinates": [1, 2]}, r"holds no polygon \(points or lines: 1\)"),
        (collection(feature(None)), r"holds no polygon \(without a geometry: 1\)"),
        ({"features": []}, "is not valid GeoJSON: the file has the type null, which GeoJSON does not know"),
        ({"type": "FeatureCollection"}, "is not valid GeoJSON: the file is a FeatureCollection without a list"),
        ({"type": "MultiPolygon"}, "is not valid GeoJSON: the file is a MultiPolygon without a list"),
        (collection(feature(7)), "is not valid GeoJSON: the geometry of number 1 in features of the file is 7"),
        (
            polygon([["a", "b"], ["c", "d"], ["e", "f"]]),
            "is not valid GeoJSON: the file: a ring is a list of points",
        ),
        (polygon([1, 2, 3]), "is not valid GeoJSON: the file: a ring is a list of points"),
        (polygon({"x": 1}), "is not valid GeoJSON: the file: a ring is a list of points"),
        (polygon([[0, 0], [float("nan"), 1], [1, 1]]), "is not valid GeoJSON: the file: a ring is a list of"),
        (polygon([[0, 0], [1, 1]]), "is not valid GeoJSON: the file: a ring of 2 points"),
        ({"type": "Feature", "properties": [1], "geometry": "x"}, 'is not valid GeoJSON: the geometry .* is "x"'),
        (7, "is not valid GeoJSON: the file is 7, no GeoJSON object"),
    ],
)
def test_geojson_that_is_none_says_where(tmp_path: Path, value: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=rf"^mask: mask\.geojson {reason}"):
        read(tmp_path, value)


def test_broken_text_and_archives(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.geojson", "{}")
        archive.writestr("b.geojson", "{}")
    kinds = {
        "text.geojson": (b"neither", "is not valid GeoJSON: Expecting value"),
        "deep.json": (b"[" * 100_000, "is not valid GeoJSON: it is nested too deeply"),
        "cut.geojson.gz": (
            gzip.compress(b"{}" * 999)[:-9],
            "cannot be read: its gzip compression is broken or cut short",
        ),
        "two.zip": ((tmp_path / "two.zip").read_bytes(), "cannot be read: it holds 2 files"),
    }
    for name, (raw, reason) in kinds.items():
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(UsageError, match=rf"^mask: {name} {reason}") as caught:
            find(tmp_path, stain(disc(70, 70, 50)), mask=tmp_path / name)
        assert str(tmp_path) not in str(caught.value)


def test_a_mask_that_misses_the_slide_says_so_with_both_extents(tmp_path: Path) -> None:
    with pytest.raises(
        SlideError,
        match=r"^slide\.png: the outlines of mask\.geojson do not touch the slide: they reach x 5000 to 5240, "
        r"y 80 to 320, the slide x 0 to 1920, y 0 to 1120",
    ):
        read(tmp_path, polygon(square(5000, 80, 240)))
    with pytest.raises(SlideError, match=r"^slide\.png: the mask mask\.geojson marks less than a pixel of 8 µm"):
        read(tmp_path, polygon([[81, 80], [83, 80], [83, 800], [81, 800]]))


def test_a_mask_that_reaches_beyond_or_lies_beside_the_tissue_is_warned_of(tmp_path: Path) -> None:
    codes = {told.code: told for told in read(tmp_path, [polygon(OUTER), polygon(square(1800, 80, 240))]).findings}
    assert (
        codes["mask-beyond"].what.startswith("20% of the corners of mask.geojson and 0 of its 2 polygons")
        and codes["mask-beyond"].severity == "warning"
    )
    many = [polygon(square(x, 320, 6)) for x in range(80, 560, 8)] + [polygon(square(-60, -60, 50))]
    codes = {told.code: told for told in read(tmp_path, many).findings}
    assert codes["mask-beyond"].what.startswith("2% of the corners of mask.geojson and 1 of its 61 polygons")
    codes = {told.code: told for told in read(tmp_path, polygon(square(800, 600, 300))).findings}
    assert "0% of mask.geojson lie on what looks like tissue, and 100%" in codes["mask-off-tissue"].what
    codes = {told.code: told for told in read(tmp_path, polygon(square(-10, -10, 2000))).findings}
    assert "covers 100% of the slide, of which 1" in codes["mask-everything"].what
