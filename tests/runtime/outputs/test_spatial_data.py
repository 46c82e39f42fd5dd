"""SpatialData's own reader, which napari-spatialdata uses, finds image, tiles and table where they belong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_prediction import SYMBOLS, make_prediction

from bleep_cli.outputs.exports.spatial_data import element_name, write_spatialdata

NAME = "patient_7.section-2"

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sd") / "a.zarr"
    write_spatialdata(make_prediction()[0], path)
    return path


@pytest.fixture(scope="module")
def opened(store: Path) -> Any:
    return pytest.importorskip("spatialdata").read_zarr(store)


def test_all_three_elements_are_read(opened: Any) -> None:
    prediction, expression = make_prediction()
    assert set(opened.images) == {f"{NAME}_he"}
    assert set(opened.shapes) == {f"{NAME}_tiles"}
    table = opened.tables["table"]
    np.testing.assert_array_equal(table.X, expression)
    assert table.var_names.tolist() == SYMBOLS.tolist()
    assert table.obs["region"].unique().tolist() == [f"{NAME}_tiles"]
    pixels = opened.images[f"{NAME}_he"].data.compute()
    np.testing.assert_array_equal(pixels.transpose(1, 2, 0), prediction.hires)
    assert set(opened.coordinate_systems) == {"global", "um"}


def test_the_table_annotates_the_tiles(opened: Any) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    prediction, expression = make_prediction()
    shapes, table = spatialdata.join_spatialelement_table(
        sdata=opened, spatial_element_names=f"{NAME}_tiles", table_name="table"
    )
    tiles = shapes[f"{NAME}_tiles"]
    assert tiles.index.tolist() == list(range(len(prediction.grid)))  # napari-spatialdata takes no names
    assert table.obs["tile_id"].tolist() == prediction.grid.tile_id.tolist()
    np.testing.assert_array_equal(table.X, expression)
    centres = np.array([(p.x, p.y) for p in tiles.geometry.centroid])
    np.testing.assert_allclose(centres, prediction.grid.centre_l0)
    np.testing.assert_allclose(tiles.geometry.area, 200.0**2)


@pytest.mark.parametrize(("system", "scale"), [("global", 1.0), ("um", 0.5)])
def test_picture_and_tiles_lie_on_each_other(opened: Any, system: str, scale: float) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    moved = {name: spatialdata.transform(opened[name], to_coordinate_system=system) for name in (f"{NAME}_tiles",)}
    row = make_prediction()[0].grid.tile_id.tolist().index("1x9")
    red = moved[f"{NAME}_tiles"].loc[row].geometry
    extent = spatialdata.get_extent(opened[f"{NAME}_he"], coordinate_system=system)
    assert extent == {"x": (0.0, 12 * 200.0 * scale), "y": (0.0, 5 * 200.0 * scale)}
    pixels = opened[f"{NAME}_he"].data.compute()
    x, y = red.centroid.x / extent["x"][1] * pixels.shape[2], red.centroid.y / extent["y"][1] * pixels.shape[1]
    assert pixels[:, int(y), int(x)].tolist() == [255, 0, 0]


def test_spatialdata_plot_draws_the_slide_and_the_tiles_in_the_colours_of_a_gene(opened: Any) -> None:
    pytest.importorskip("spatialdata_plot")
    pyplot, colours = (
        pytest.importorskip("matplotlib.pyplot"),
        pytest.importorskip("matplotlib").colormaps["viridis"],
    )
    _, expression = make_prediction()
    figure, axes = pyplot.subplots()
    tiles = opened.pl.render_images(f"{NAME}_he").pl.render_shapes(
        f"{NAME}_tiles", color="ERBB2", method="matplotlib"
    )
    tiles.pl.show(coordinate_systems="um", ax=axes)
    ((picture,), (squares,)) = axes.images, axes.collections
    np.testing.assert_array_equal(np.asarray(picture.get_array())[15, 95], [1.0, 0, 0])
    values = expression[:, SYMBOLS.tolist().index("ERBB2")]
    share = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_allclose(squares.get_facecolor()[:, :3], colours(share)[:, :3], atol=0.01)
    edges = np.array([path.vertices[:4].min(axis=0) for path in squares.get_paths()])
    np.testing.assert_allclose(edges, make_prediction()[0].grid.centre_l0 * 0.5 - 50)
    pyplot.close(figure)


def test_it_can_be_written_again_by_spatialdata(opened: Any, tmp_path: Path) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    opened.write(tmp_path / "again.zarr")
    again = spatialdata.read_zarr(tmp_path / "again.zarr")
    np.testing.assert_array_equal(again.tables["table"].X, opened.tables["table"].X)


def test_names_are_made_of_what_is_allowed() -> None:
    prediction, _ = make_prediction()
    assert element_name(prediction) == NAME
    assert element_name(replace(prediction, slide_id="Gewebe Ä/1")) == "Gewebe___1"
    assert element_name(replace(prediction, slide_id="__")) == "slide"
