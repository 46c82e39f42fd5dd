"""Visium HD's folders: squares of several sizes, and cells by the centroids of their outlines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables_of_counts import GENE, image, write_h5, write_positions

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError

NAMES, TYPES = ["A", "B", "Probe"], [GENE, GENE, "Custom"]


def squares(outs: Path, um: int, n: int) -> None:
    """``square_NNNum`` with n squares of 1, 2, ... counts in a row; one more lies outside the tissue."""
    folder = outs / f"binned_outputs/square_{um:03d}um"
    names = [f"s_{um:03d}um_00000_{i:05d}-1" for i in range(n)]
    counts = [[i + 1, um, 7] for i in range(n)]
    write_h5(folder / "filtered_feature_bc_matrix.h5", counts, NAMES, names, feature_type=TYPES)
    (folder / "spatial").mkdir()
    at = np.arange(n + 1)
    pd.DataFrame({
        "barcode": [*names, "glass-1"], "in_tissue": [*[1] * n, 0], "array_row": 0, "array_col": at,
        "pxl_row_in_fullres": 20.0, "pxl_col_in_fullres": 2.0 * um * at,
    }).to_parquet(folder / "spatial/tissue_positions.parquet")  # fmt: skip


def outline(cell: Any, ring: Any, kind: str = "Polygon") -> dict[str, Any]:
    shape = [ring] if kind == "Polygon" else [[part] for part in ring]
    return {
        "type": "Feature",
        "properties": {"cell_id": cell},
        "geometry": {"type": kind, "coordinates": shape},
    }


def cells(folder: Path, name: str = "cell_segmentations.geojson") -> None:
    """``segmented_outputs``: a square, an L, two parts, and a cell that the matrix has not."""
    names = [f"cellid_{i:09d}-1" for i in (1, 2, 13)]
    counts = [[1, 0, 9], [2, 3, 9], [0, 4, 9]]
    write_h5(folder / "filtered_feature_cell_matrix.h5", counts, NAMES, names, feature_type=TYPES)
    ell = [[0, 0], [4, 0], [4, 2], [2, 2], [2, 4], [0, 4], [0, 0]]
    parts = [[[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]], [[10, 0], [10, 4], [14, 4], [14, 0], [10, 0]]]
    shapes = [
        outline(1, [[10, 20], [14, 20], [14, 30], [10, 30], [10, 20]]),
        outline(2, [[x + 20, y + 10] for x, y in ell]),
        outline(13, parts, "MultiPolygon"),
        outline(14, [[0, 0], [1, 0], [1, 1], [0, 0]]),
        {"type": "Feature", "properties": {"cell_id": 15}, "geometry": None},
    ]
    (folder / name).write_text(json.dumps({"type": "FeatureCollection", "features": shapes}))


CENTROIDS = [[12, 25], [20 + 5 / 3, 10 + 5 / 3], [(4 * 1 + 16 * 12) / 20, (4 * 1 + 16 * 2) / 20]]


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    return image(tmp_path) | {"spaceranger": "outs"}


def test_the_sizes_of_squares_are_named_and_one_is_picked(tmp_path: Path, entry: dict[str, Any]) -> None:
    for um, n in {2: 6, 8: 3, 16: 2}.items():
        squares(tmp_path / "outs", um, n)
    with pytest.raises(
        ReferenceError, match=r'section s: outs holds 3 sections, 002um, 008um, 016um; .*bin = "002um"'
    ):
        read_section(entry, tmp_path)
    with pytest.raises(ReferenceError, match="outs has no bin 8; it has 002um, 008um, 016um"):
        read_section(entry | {"bin": "8"}, tmp_path)
    found = read_section(entry | {"bin": "008um"}, tmp_path)
    assert found.symbols.tolist() == ["A", "B"]
    assert found.counts.toarray().tolist() == [[1, 8], [2, 8], [3, 8]]
    assert found.xy_l0.tolist() == [[0, 20], [16, 20], [32, 20]]
    assert found.barcodes[2] == "s_008um_00000_00002-1"
    direct = read_section(entry | {"spaceranger": "outs/binned_outputs/square_008um"}, tmp_path)
    below = read_section(entry | {"spaceranger": "outs/binned_outputs", "bin": "008um"}, tmp_path)
    assert direct.sha256 == below.sha256 == found.sha256


def test_one_size_need_not_be_picked_and_other_folders_know_no_bin(tmp_path: Path, entry: dict[str, Any]) -> None:
    squares(tmp_path / "outs", 8, 3)
    assert len(read_section(entry, tmp_path).barcodes) == 3
    write_h5(tmp_path / "v/filtered_feature_bc_matrix.h5", [[1, 2, 3]], NAMES, ["AAA-1"])
    write_positions(tmp_path / "v/spatial/tissue_positions.csv", ["AAA-1"], [(1, 2)])
    with pytest.raises(ReferenceError, match="v is a Space Ranger folder, which does not take bin"):
        read_section(entry | {"spaceranger": "v", "bin": "008um"}, tmp_path)


def test_cells_lie_at_the_centroids_of_their_outlines(tmp_path: Path, entry: dict[str, Any]) -> None:
    squares(tmp_path / "outs", 8, 3)
    cells(tmp_path / "outs/segmented_outputs")
    with pytest.raises(ReferenceError, match="outs holds 2 sections, 008um, cells"):
        read_section(entry, tmp_path)
    found = read_section(entry | {"bin": "cells"}, tmp_path)
    assert found.counts.toarray().tolist() == [[1, 0], [2, 3], [0, 4]]
    np.testing.assert_allclose(found.xy_l0, CENTROIDS, rtol=1e-12)
    told = [f.what for f in found.findings if f.code == "spots-without-counts"]
    assert told == ["1 spots in tissue have no counts"]
    direct = read_section(entry | {"spaceranger": "outs/segmented_outputs"}, tmp_path)
    assert direct.sha256 == found.sha256


@pytest.mark.parametrize(
    "name", ["graphclust_annotated_cell_segmentations.geojson", "nucleus_segmentations.geojson"]
)
def test_other_outlines_will_do(tmp_path: Path, entry: dict[str, Any], name: str) -> None:
    cells(tmp_path / "outs/segmented_outputs", name)
    np.testing.assert_allclose(read_section(entry, tmp_path).xy_l0, CENTROIDS, rtol=1e-12)


def test_cells_without_outlines(tmp_path: Path, entry: dict[str, Any]) -> None:
    cells(tmp_path / "outs/segmented_outputs", "other.json")
    with pytest.raises(ReferenceError, match=r"segmented_outputs has no cell_segmentations\.geojson"):
        read_section(entry, tmp_path)
    (tmp_path / "outs/segmented_outputs/cell_segmentations.geojson").write_text("[]")
    with pytest.raises(ReferenceError, match=r"cell_segmentations\.geojson is no GeoJSON FeatureCollection"):
        read_section(entry, tmp_path)
