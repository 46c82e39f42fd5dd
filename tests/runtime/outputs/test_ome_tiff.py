"""OME-TIFF as tifffile reads it: one series, a channel per gene, sizes in µm, halves, the values of the h5ad."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import tifffile
from made_prediction import SLIDE, SYMBOLS, blocks_of, make_prediction

from bleep_cli.errors import UsageError
from bleep_cli.outputs.exports import chosen, ome_tiff
from bleep_cli.outputs.exports.ome_tiff import is_whole, write_ome_tiff
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.types import Prediction

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"


def holed(rows: int, columns: int, genes: int = 7) -> Prediction:
    """A prediction over a part of its rectangle: one tile in five is not there, nor are the outer rows."""
    whole, expression = make_prediction(rows, columns, genes)
    row, column = whole.grid.array_row, whole.grid.array_col
    kept = np.flatnonzero(((row + 2 * column) % 5 > 0) & (row >= 2) & (column >= 3))
    return replace(
        whole,
        grid=whole.grid.subset(kept),
        in_tissue=whole.in_tissue[kept],
        neighbours=replace(
            whole.neighbours, index=whole.neighbours.index[kept], similarity=whole.neighbours.similarity[kept]
        ),
        obs={name: values[kept] for name, values in whole.obs.items()},
        blocks=lambda: blocks_of(expression[kept], 16),
    )


def pixels_of(path: Path) -> ET.Element:
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.ome_metadata is not None
        found = ET.fromstring(tiff.ome_metadata).find(f"{OME}Image/{OME}Pixels")
    assert found is not None
    return found


def test_values_are_those_of_the_h5ad_at_their_cells(tmp_path: Path) -> None:
    prediction = holed(90, 150)
    write_ome_tiff(prediction, tmp_path / "a.ome.tif")
    write_h5ad(prediction, tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(tmp_path / "a.h5ad")
    image = tifffile.imread(tmp_path / "a.ome.tif")
    assert (image.shape, image.dtype) == ((7, 88, 147), np.float32)
    row, column = adata.obs["array_row"].to_numpy() - 2, adata.obs["array_col"].to_numpy() - 3
    np.testing.assert_array_equal(image[:, row, column].T, adata.X)
    empty = np.ones(image.shape[1:], bool)
    empty[row, column] = False
    assert empty.any()
    np.testing.assert_array_equal(np.isnan(image), np.broadcast_to(empty, image.shape))


def test_one_series_with_channels_and_sizes(tmp_path: Path) -> None:
    prediction = holed(90, 150)
    write_ome_tiff(prediction, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        (series,) = tiff.series
        assert (series.kind, series.axes, series.name) == ("ome", "CYX", SLIDE)
        assert all(
            (level.keyframe.is_tiled, level.keyframe.dtype) == (True, np.float32) for level in series.levels
        )
    pixels = pixels_of(tmp_path / "a.ome.tif")
    assert [channel.get("Name") for channel in pixels.iter(f"{OME}Channel")] == SYMBOLS.tolist()
    sizes = [(pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit")) for axis in "XY"]
    assert sizes == [("100.0", "µm")] * 2
    planes = list(pixels.iter(f"{OME}Plane"))
    assert [plane.get("TheC") for plane in planes] == [str(i) for i in range(7)]
    left, top = (prediction.grid.centre_l0.min(axis=0) * prediction.grid.mpp - 50).tolist()
    assert (left, top) == (300.0, 200.0)
    assert {(plane.get("PositionX"), plane.get("PositionY")) for plane in planes} == {(str(left), str(top))}
    assert {plane.get(f"Position{axis}Unit") for plane in planes for axis in "XY"} == {"µm"}


def test_each_level_is_the_mean_of_the_tiles_below_it(tmp_path: Path) -> None:
    write_ome_tiff(holed(90, 150), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        levels = [level.asarray() for level in tiff.series[0].levels]
    assert [level.shape for level in levels] == [(7, 88, 147), (7, 44, 74), (7, 22, 37)]
    for finer, coarser in pairwise(levels):
        for y, x in ((0, 0), (3, 5), (coarser.shape[1] - 1, coarser.shape[2] - 1)):
            cells = finer[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].reshape(len(finer), -1)
            known = cells[:, np.isfinite(cells[0])]
            wanted = known.mean(axis=1, dtype=np.float64) if known.size else np.full(len(finer), np.nan)
            np.testing.assert_allclose(coarser[:, y, x], wanted, rtol=1e-6)


def test_the_xml_is_valid_by_the_schema(tmp_path: Path) -> None:
    ome_types = pytest.importorskip("ome_types", reason="ome-types, which holds the OME schema, is not installed")
    write_ome_tiff(holed(90, 150), tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        ome = ome_types.from_xml(tiff.ome_metadata, validate=True)
    assert ome.images[0].pixels.size_c == 7


def test_of_many_genes_those_that_vary_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "MOST_GENES", 3)
    prediction, expression = make_prediction()
    write_ome_tiff(prediction, tmp_path / "a.ome.tif")
    order = np.sort(np.argsort(-expression.var(axis=0, dtype=np.float64), kind="stable")[:3])
    names = [channel.get("Name") for channel in pixels_of(tmp_path / "a.ome.tif").iter(f"{OME}Channel")]
    assert names == SYMBOLS[order].tolist()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif").reshape(3, -1), expression[:, order].T)


def test_more_passes_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, _ = make_prediction()
    passes: list[int] = []
    counted = replace(prediction, blocks=lambda: passes.append(1) or prediction.blocks())
    write_ome_tiff(counted, tmp_path / "once.ome.tif")
    monkeypatch.setattr(ome_tiff, "VALUES_AT_ONCE", 3 * len(prediction.grid))
    write_ome_tiff(counted, tmp_path / "thrice.ome.tif")
    assert len(passes) == 1 + 3
    assert (tmp_path / "once.ome.tif").read_bytes() == (tmp_path / "thrice.ome.tif").read_bytes()


def test_names_cannot_break_the_xml(tmp_path: Path) -> None:
    prediction, _ = make_prediction()
    odd = np.array(["<A>&", '"', "\x1b[1m", "{0}", "Ünï µ", "]]>", "é"])
    write_ome_tiff(replace(prediction, symbols=odd, slide_id="<&\x07>"), tmp_path / "a.ome.tif")
    names = [channel.get("Name") for channel in pixels_of(tmp_path / "a.ome.tif").iter(f"{OME}Channel")]
    assert names == ["<A>&", '"', "\\x1b[1m", "{0}", "Ünï µ", "]]>", "é"]


@pytest.mark.parametrize("moved", ["shaken", "doubled", "far"])
def test_tiles_on_no_grid_are_refused(tmp_path: Path, moved: str) -> None:
    prediction, _ = make_prediction()
    centre = prediction.grid.centre_l0.copy()
    if moved == "shaken":
        centre += np.random.default_rng(0).uniform(-60, 60, centre.shape)
    elif moved == "doubled":
        centre[1] = centre[0]
    else:
        centre[1] = 1e12
    odd = replace(prediction, grid=replace(prediction.grid, centre_l0=centre))
    told = "over the limit MOST_CELLS" if moved == "far" else r"no grid of 100 µm.*choose geojson, spatialdata"
    with pytest.raises(UsageError, match=told):
        write_ome_tiff(odd, tmp_path / "a.ome.tif")
    assert not list(tmp_path.iterdir())


def test_a_file_that_was_cut_short_is_not_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome_tiff(holed(90, 150), path)
    assert is_whole(path)
    data = path.read_bytes()
    for size in (len(data) - 20, len(data) // 2, 100, 0):
        path.write_bytes(data[:size])
        assert not is_whole(path)


def test_its_own_annotation_says_where_it_is_from(tmp_path: Path) -> None:
    prediction: Any = make_prediction()[0]
    write_ome_tiff(prediction, tmp_path / "a.ome.tif")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        root = ET.fromstring(tiff.ome_metadata or "")
    said = {entry.get("K"): entry.text for entry in root.iter(f"{OME}M")}
    assert said["slide"] == SLIDE
    assert said["slide_sha256"] == "ab" * 32
    assert said["corner_px"] == "0, 0"
    assert said["expression_units"] == "log1p(counts per 10,000)"
