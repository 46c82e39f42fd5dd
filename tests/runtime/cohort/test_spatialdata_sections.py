"""SpatialData stores, written by hand in the library's layout, and one that the library itself wrote."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import zarr
from tables_of_counts import image

from bleep_cli.cohort.parts.outlines import wkb_centroid
from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError

pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
COUNTS = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 5]], np.float32)
XY = np.array([[10.0, 20], [30, 21], [50, 22]])


def axes(*names: str) -> dict[str, Any]:
    return {"axes": [{"name": name, "type": "space"} for name in names]}


def moved(kind: str, values: Any = None, to: str = "global", over: tuple[str, ...] = ("x", "y")) -> dict[str, Any]:
    told = {"type": kind, "input": axes(*over), "output": {"name": to, **axes(*over)}}
    return told if values is None else {**told, kind: values}


def sequence(*parts: dict[str, Any], to: str = "global") -> dict[str, Any]:
    ends = {"input": axes("x", "y"), "output": {"name": to, **axes("x", "y")}}
    return {"type": "sequence", "transformations": list(parts), **ends}


def point(x: float, y: float) -> bytes:
    return struct.pack("<BIdd", 1, 1, x, y)


def polygon(*rings: Any) -> bytes:
    body = b"".join(struct.pack("<I", len(ring)) + np.asarray(ring, "<f8").tobytes() for ring in rings)
    return struct.pack("<BII", 1, 3, len(rings)) + body


class Store:
    """A store under ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = zarr.open_group(path, mode="w", zarr_format=2)

    def shapes(self, name: str, shapes: Any, *how: dict[str, Any], index: Any = None) -> Store:
        group = self.root.create_group(f"shapes/{name}")
        group.attrs.update({"encoding-type": "ngff:shapes", "coordinateTransformations": list(how)})
        pd.DataFrame({"geometry": shapes, "radius": 5.0}, index=index).to_parquet(
            self.path / f"shapes/{name}/shapes.parquet"
        )
        return self

    def image(self, name: str, *how: dict[str, Any]) -> Store:
        scales = {"multiscales": [{"coordinateTransformations": list(how), "datasets": []}]}
        self.root.create_group(f"images/{name}").attrs.update(scales)
        return self

    def table(self, of: Any, name: str = "table", counts: Any = COUNTS, instances: Any = (0, 1, 2)) -> Store:
        obs = pd.DataFrame({"region": pd.Categorical(of), "instance": list(instances)}, index=list("abc"))
        adata = anndata.AnnData(counts, obs, pd.DataFrame(index=["A", "B", "BLANK_1"]))
        self.root.require_group("tables")
        anndata.io.write_elem(self.root, f"tables/{name}", adata)
        self.root[f"tables/{name}"].attrs.update(
            {"region": of, "region_key": "region", "instance_key": "instance"}
        )
        return self


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    return image(tmp_path) | {"spatialdata": "a.zarr"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a.zarr")


CIRCLES = [point(*xy) for xy in XY.tolist()]


def test_circles_in_pixels(tmp_path: Path, entry: dict[str, Any], store: Store) -> None:
    low = moved("scale", [0.1, 0.1], "low")
    store.shapes("spots", CIRCLES, moved("identity", to="full"), low).table(["spots"] * 3)
    store.image("low", moved("identity", to="low", over=("c", "y", "x")))
    found = read_section(entry, tmp_path)
    assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (["A", "B"], COUNTS[:, :2].tolist())
    assert (found.barcodes.tolist(), found.xy_l0.tolist()) == (["a", "b", "c"], XY.tolist())
    assert read_section(image(tmp_path) | {"zarr": "a.zarr"}, tmp_path).sha256 == found.sha256
    by_low = read_section(entry | {"coordinates": "low"}, tmp_path)
    np.testing.assert_allclose(by_low.xy_l0, XY / 10, rtol=1e-12)
    with pytest.raises(ReferenceError, match="the shapes has no coordinates hires; it has full, low"):
        read_section(entry | {"coordinates": "hires"}, tmp_path)


def test_rows_go_by_the_name_of_their_shape(tmp_path: Path, entry: dict[str, Any], store: Store) -> None:
    store.shapes("cells", CIRCLES, moved("identity"), index=["c7", "c8", "c9"])
    store.table(["cells"] * 3, instances=["c9", "c7", "c8"])
    assert read_section(entry, tmp_path).xy_l0.tolist() == XY[[2, 0, 1]].tolist()
    store.table(["cells"] * 3, instances=["c9", "c7", "c1"])
    with pytest.raises(ReferenceError, match="1 rows of table table are of no shape of cells, such as c1"):
        read_section(entry, tmp_path)


def test_polygons_in_micrometres(tmp_path: Path, entry: dict[str, Any], store: Store) -> None:
    square = [[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]
    turned = square[::-1]
    with_hole = polygon([[0, 0], [8, 0], [8, 8], [0, 8], [0, 0]], [[1, 1], [2, 1], [2, 2], [1, 1]])
    how = sequence(moved("scale", [4.0, 5.0]), moved("translation", [1.0, -1.0]))
    store.shapes("cells", [polygon(square), polygon(turned), with_hole], how).table(["cells"] * 3)
    assert read_section(entry, tmp_path).xy_l0.tolist() == [[9, 4], [9, 4], [17, 19]]


def test_an_image_that_lies_otherwise_has_to_be_named(tmp_path: Path, entry: dict[str, Any], store: Store) -> None:
    """As a store of Xenium: cells in µm, the H&E image turned onto the morphology image."""
    over = ("c", "y", "x")
    matrix = [[1.0, 0, 0, 0], [0, 0, 2.0, 40.0], [0, -2.0, 0, 100.0]]  # rows c, y, x of columns c, y, x, 1
    store.shapes("cells", CIRCLES, moved("scale", [4.0, 4.0])).table(["cells"] * 3)
    store.image("morphology", moved("identity", over=over)).image("he", moved("affine", matrix, over=over))
    with pytest.raises(
        ReferenceError, match=r"he of its images do not lie in coordinate system global .* by element"
    ):
        read_section(entry, tmp_path)
    in_global = 4 * XY
    he = np.column_stack([(in_global[:, 1] - 40) / 2, (100 - in_global[:, 0]) / 2])
    np.testing.assert_allclose(read_section(entry | {"element": "he"}, tmp_path).xy_l0, he, rtol=1e-12)
    named = read_section(entry | {"element": "morphology"}, tmp_path)
    np.testing.assert_allclose(named.xy_l0, in_global, rtol=1e-12)
    with pytest.raises(ReferenceError, match="no image dapi; it has he, morphology"):
        read_section(entry | {"element": "dapi"}, tmp_path)


def test_several_tables_and_several_regions_are_picked(
    tmp_path: Path, entry: dict[str, Any], store: Store
) -> None:
    for name in ("one", "two"):
        store.shapes(name, CIRCLES, moved("identity"))
    store.table(["one", "two", "one"], "square_008um").table(["two"] * 3, "square_016um", 2 * COUNTS)
    with pytest.raises(ReferenceError, match=r'a\.zarr has square_008um, square_016um; .*table = "square_008um"'):
        read_section(entry, tmp_path)
    with pytest.raises(ReferenceError, match=r'table square_008um has one, two; pick one with library = "one"'):
        read_section(entry | {"table": "square_008um"}, tmp_path)
    found = read_section(entry | {"table": "square_008um", "library": "one"}, tmp_path)
    assert (found.barcodes.tolist(), found.xy_l0.tolist()) == (["a", "c"], XY[[0, 2]].tolist())
    sixteen = read_section(entry | {"table": "square_016um"}, tmp_path)
    assert sixteen.counts.toarray().tolist() == (2 * COUNTS[:, :2]).tolist()


def test_labels_and_unknown_transformations_are_refused_with_words(
    tmp_path: Path, entry: dict[str, Any], store: Store
) -> None:
    store.shapes("cells", CIRCLES, moved("mapAxis", {})).table(["nuclei"] * 3)
    with pytest.raises(
        ReferenceError, match="table table is of nuclei, which is no circles or polygons among its"
    ):
        read_section(entry, tmp_path)
    store.table(["cells"] * 3)
    with pytest.raises(ReferenceError, match="a transformation of kind mapAxis in it is not understood"):
        read_section(entry, tmp_path)


@pytest.mark.parametrize(
    ("shape", "centre"),
    [
        (struct.pack(">BIdd", 0, 1, 3, 4), [3, 4]),
        (struct.pack("<BIddd", 1, 1001, 3, 4, 5), [3, 4]),
        (struct.pack("<BIddd", 1, 0x80000001, 3, 4, 5), [3, 4]),
        (struct.pack("<BII", 1, 6, 2) + 2 * polygon([[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]]), [1, 1]),
        (polygon([[5, 5], [5, 5], [5, 5]]), [5, 5]),
    ],
)
def test_shapes_of_either_byte_order_and_of_three_dimensions(shape: bytes, centre: list[float]) -> None:
    assert wkb_centroid(shape).tolist() == centre


def test_a_shape_that_is_neither(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match="a shape of kind 2 in it is no point and no polygon"):
        wkb_centroid(struct.pack("<BII", 1, 2, 0))


@pytest.mark.filterwarnings("ignore")  # those of its dependencies
@pytest.mark.slow
def test_a_store_of_the_librarys_own(tmp_path: Path, entry: dict[str, Any]) -> None:
    spatialdata = pytest.importorskip("spatialdata")
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Affine, Scale

    turned = Affine([[0, -2, 100], [2, 0, 40], [0, 0, 1]], ("x", "y"), ("x", "y"))
    cells = ShapesModel.parse(XY, geometry=0, radius=5.0, transformations={"global": Scale([4, 4], ("x", "y"))})
    adata = anndata.AnnData(COUNTS, var=pd.DataFrame(index=["A", "B", "C"]))
    adata.obs["region"], adata.obs["instance"] = pd.Categorical(["cells"] * 3), [2, 0, 1]
    table = TableModel.parse(adata, region="cells", region_key="region", instance_key="instance")
    he = Image2DModel.parse(
        np.zeros((3, 8, 8), np.uint8), dims=("c", "y", "x"), transformations={"global": turned}
    )
    spatialdata.SpatialData(images={"he": he}, shapes={"cells": cells}, tables={"t": table}).write(
        tmp_path / "a.zarr"
    )
    found = read_section(entry | {"element": "he"}, tmp_path)
    in_global = 4 * XY[[2, 0, 1]]
    right = np.column_stack([(in_global[:, 1] - 40) / 2, (100 - in_global[:, 0]) / 2])
    np.testing.assert_allclose(found.xy_l0, right, rtol=1e-12)
    assert found.counts.toarray().tolist() == COUNTS.tolist()
    assert json.loads((tmp_path / "a.zarr/zarr.json").read_text())["zarr_format"] == 3
