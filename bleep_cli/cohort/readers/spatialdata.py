"""A SpatialData store of Zarr: a table, and the circles or polygons that its rows are of.

The store is read through AnnData, Zarr and Parquet, by its own conventions: a table says by ``region``,
``region_key`` and ``instance_key`` of which element each row is, an element how it lies in coordinate systems
(``coordinateTransformations`` of NGFF).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.stored_arrays import check_zarr
from bleep_cli.cohort.parts.anndata_section import KEYS, section_of
from bleep_cli.cohort.parts.outlines import wkb_centroid
from bleep_cli.cohort.parts.reader import Key, RawSection, Reader, Source
from bleep_cli.errors import ReferenceError
from bleep_cli.types import F64

TABLES = ("tables", "table")  # as it is called now, and was once
TRANSFORMATIONS = "coordinateTransformations"
GLOBAL = "global"
XY = ("x", "y")


def read_spatialdata(source: Source) -> RawSection:
    """The rows of one table that are of one element, placed at its centroids."""
    import zarr
    from anndata.io import read_elem

    entry = source.entry
    store: Any = zarr.open_group(source.path, mode="r")
    tables = {name: group for kind in TABLES if kind in store for name, group in sorted(store[kind].groups())}
    table = _picked(tables, entry.get("table"), "table", source.path.name)
    told = dict(tables[table].attrs)
    if not {"region_key", "instance_key"} <= set(told):
        raise ReferenceError(f"table {table} does not say of which shapes it is (region_key, instance_key)")
    check_zarr(tables[table])
    adata = read_elem(tables[table])
    of = adata.obs[told["region_key"]].astype(str).to_numpy(dtype=str)
    region = _picked(dict.fromkeys(of.tolist()), entry.get("library"), "library", f"table {table}")
    if region not in store.get("shapes", {}):
        raise ReferenceError(f"table {table} is of {region}, which is no circles or polygons among its shapes")
    adata = adata[of == region].copy()
    where = _centroids(source.path / "shapes" / region, _systems(store[f"shapes/{region}"].attrs[TRANSFORMATIONS]))
    matrix = _onto_image(store, where.systems, entry.get("element"), entry.get("coordinates"))
    names = adata.obs[told["instance_key"]].astype(str).tolist()
    lost = [name for name in names if name not in where.row]
    if lost:
        raise ReferenceError(f"{len(lost)} rows of table {table} are of no shape of {region}, such as {lost[0]}")
    xy = where.xy[[where.row[name] for name in names]]
    adata.obsm["spatial"] = (matrix @ np.column_stack([xy, np.ones(len(xy))]).T).T[:, :2]
    return section_of(adata, {key: value for key, value in entry.items() if key != "library"})


def _picked(there: Any, name: str | None, key: str, where: str) -> str:
    names = list(there)
    if name in names:
        return str(name)
    if name is not None or not names:
        raise ReferenceError(f"{where} has no {key} {name or ''}; it has {', '.join(names) or 'none'}")
    if len(names) > 1:
        raise ReferenceError(f'{where} has {", ".join(names)}; pick one with {key} = "{names[0]}"')
    return str(names[0])


class _Shapes:
    """The centroids of an element of shapes."""

    def __init__(self, row: dict[str, int], xy: F64, systems: dict[str, F64]) -> None:
        self.row, self.xy, self.systems = row, xy, systems


def _centroids(folder: Path, found: dict[str, F64]) -> _Shapes:
    import pyarrow.parquet as pq

    file = folder / "shapes.parquet"
    if not file.is_file():
        raise ReferenceError(
            f"shapes {folder.name} have no shapes.parquet: write the store with a newer spatialdata"
        )
    table = pq.read_table(file)
    xy = np.array([wkb_centroid(shape) for shape in table["geometry"].to_pylist()], np.float64).reshape(-1, 2)
    index = table.drop_columns(["geometry"]).to_pandas().index.astype(str)
    return _Shapes({name: i for i, name in enumerate(index.tolist())}, xy, found)


def _onto_image(store: Any, shapes: dict[str, F64], element: str | None, system: str | None) -> F64:
    """f64[3, 3] from the shapes' plane to pixels of the section's image: those of ``element``, or of a coordinate
    system in which all images lie as they are."""
    images = {
        name: _systems(_multiscale(group)[TRANSFORMATIONS]) for name, group in sorted(store["images"].groups())
    } if "images" in store else {}  # fmt: skip
    if element is not None:
        if element not in images:
            raise ReferenceError(f"it has no image {element}; it has {', '.join(images) or 'none'}")
        shared = [name for name in shapes if name in images[element]]
        if not shared:
            raise ReferenceError(f"image {element} and the shapes share no coordinate system")
        name = _system(shapes, system) if system else GLOBAL if GLOBAL in shared else shared[0]
        return np.asarray(np.linalg.inv(images[element][name]) @ shapes[name])
    name = _system(shapes, system)
    moved = [image for image, there in images.items() if name in there and not _is_identity(there[name])]
    if moved:
        raise ReferenceError(
            f"{', '.join(moved)} of its images do not lie in coordinate system {name} as they are: say which one "
            f"the section's image is by element"
        )
    return shapes[name]


def _system(shapes: dict[str, F64], asked: str | None) -> str:
    """The coordinate system that is asked for, or else the one that the shapes are in as they are, or else the
    global one, or else the only one."""
    if asked is not None:
        return _picked(shapes, asked, "coordinates", "the shapes")
    as_is = [name for name, matrix in shapes.items() if _is_identity(matrix)]
    return (
        as_is[0] if as_is else GLOBAL if GLOBAL in shapes else _picked(shapes, None, "coordinates", "the shapes")
    )


def _multiscale(group: Any) -> Any:
    told = dict(group.attrs)
    return told.get("ome", told)["multiscales"][0]


def _systems(transformations: Sequence[Mapping[str, Any]]) -> dict[str, F64]:
    """By the name of each coordinate system, the f64[3, 3] that takes an element's (x, y, 1) to it.

    Raises ``ReferenceError`` for transformations that are no matrix.
    """
    return {str(told["output"]["name"]): _matrix(told) for told in transformations}


def _matrix(told: Mapping[str, Any]) -> F64:
    """f64[3, 3] of one transformation."""
    kind, out = told["type"], np.eye(3)
    if kind == "sequence":
        for part in told["transformations"]:
            out = _matrix(part) @ out
        return out
    if kind == "identity":
        return out
    axes = [axis["name"] for axis in told["input"]["axes"]]
    if kind in ("scale", "translation"):
        for i, name in enumerate(XY):
            at = (i, i) if kind == "scale" else (i, 2)
            out[at] = told[kind][axes.index(name)] if name in axes else out[at]
        return out
    if kind != "affine":
        raise ReferenceError(f"a transformation of kind {kind} in it is not understood")
    matrix = np.asarray(told["affine"], np.float64)
    to = [axis["name"] for axis in told["output"]["axes"]]
    for i, row in enumerate(XY):
        out[i] = [*(matrix[to.index(row), axes.index(column)] for column in XY), matrix[to.index(row), -1]]
    return out


def _is_identity(matrix: F64) -> bool:
    """Whether a transformation leaves everything where it is."""
    return bool(np.allclose(matrix, np.eye(3), rtol=0, atol=1e-9))


def is_spatialdata(path: Path) -> bool:
    """Whether a folder holds tables and shapes as SpatialData stores them."""
    return any((path / name).is_dir() for name in TABLES) and (path / "shapes").is_dir()


SPATIALDATA = Reader(
    what="a SpatialData store",
    sources=("spatialdata", "zarr"),
    claims=is_spatialdata,
    read=read_spatialdata,
    keys=(*KEYS, Key("table"), Key("element"), Key("coordinates")),
)
