"""GeoJSON by QuPath's rules: UUIDs, closed rings in its plane, flat numeric measurements."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_prediction import PROVENANCE, make_prediction

from bleep_cli.outputs.exports.chosen import MOST_GENES
from bleep_cli.outputs.exports.geojson import write_geojson
from bleep_cli.types import Prediction


def written(prediction: Prediction, folder: Path) -> dict[str, Any]:
    write_geojson(prediction, folder / "a.geojson", force=True)
    found: dict[str, Any] = json.loads((folder / "a.geojson").read_text(encoding="utf-8"))
    return found


def test_a_square_per_tile_with_its_genes(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    found = written(prediction, tmp_path)
    assert found["type"] == "FeatureCollection"
    assert len(found["features"]) == len(prediction.grid)
    for row, feature in enumerate(found["features"]):
        properties = feature["properties"]
        assert (feature["type"], properties["objectType"]) == ("Feature", "tile")
        assert properties["name"] == prediction.grid.tile_id[row]
        values = [properties["measurements"][str(symbol)] for symbol in prediction.symbols]
        np.testing.assert_allclose(values, expression[row], rtol=1e-4)
        assert properties["measurements"]["similarity"] == pytest.approx(
            prediction.obs["similarity"][row], rel=1e-4
        )
        (ring,) = feature["geometry"]["coordinates"]
        x, y = prediction.grid.centre_l0[row]
        assert ring == [[x - 100, y - 100], [x + 100, y - 100], [x + 100, y + 100], [x - 100, y + 100], ring[0]]
    assert found["bleep"]["genes"] == "7"


def test_ids_are_uuids_that_stay(tmp_path: Path) -> None:
    prediction, _ = make_prediction()
    ids = [feature["id"] for feature in written(prediction, tmp_path)["features"]]
    assert len({uuid.UUID(i) for i in ids}) == len(prediction.grid)
    assert ids == [feature["id"] for feature in written(prediction, tmp_path)["features"]]
    other = replace(prediction, provenance=PROVENANCE | {"slide": {"sha256": "cd" * 32}})
    assert not set(ids) & {feature["id"] for feature in written(other, tmp_path)["features"]}


def test_qupaths_corner_is_that_of_the_scanned_part(tmp_path: Path) -> None:
    prediction, _ = make_prediction()
    bounded = replace(
        prediction, provenance=PROVENANCE | {"slide": PROVENANCE["slide"] | {"bounds_l0": [30, 20, 900, 400]}}
    )
    (plain,), (moved,) = (
        written(p, tmp_path)["features"][0]["geometry"]["coordinates"] for p in (prediction, bounded)
    )
    np.testing.assert_array_equal(np.array(plain) - np.array(moved), [[30, 20]] * 5)
    assert [written(p, tmp_path)["bleep"]["origin"] for p in (prediction, bounded)] == [[0, 0], [30, 20]]


def test_of_many_genes_those_that_vary_most(tmp_path: Path) -> None:
    prediction, expression = make_prediction(genes=MOST_GENES + 50)
    found = written(prediction, tmp_path)
    order = np.argsort(-expression.var(axis=0, dtype=np.float64), kind="stable")[:MOST_GENES]
    wanted = {str(prediction.symbols[i]) for i in order}
    assert {name for name in found["features"][0]["properties"]["measurements"] if name[0] == "G"} == wanted
    assert found["bleep"]["genes"] == "200 of 250, those that vary most"
    assert shapes_of(tmp_path) == len(prediction.grid)


def shapes_of(folder: Path) -> int:
    """How many valid polygons GeoPandas reads."""
    geopandas = pytest.importorskip("geopandas")
    frame = geopandas.read_file(folder / "a.geojson")
    return int(frame.geometry.is_valid.sum())
