"""A prediction as a SpatialData Zarr store: ``spatialdata.read_zarr`` gives image, tiles and table.

Written without that library, whose dependencies weigh more than this runtime: the container format 0.2 with its
elements as of SpatialData 0.5 and later (Marconato et al. 2024, "SpatialData: an open and universal data framework
for spatial omics"), an OME-Zarr 0.5 picture, GeoParquet shapes, an AnnData table. Two coordinate systems:
``global``, level-0 pixels, and ``um``.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.elements import categorical, elements, write_elements
from bleep_cli.outputs.zarr_store import write_x
from bleep_cli.types import F64, Prediction, Progress, no_progress

if TYPE_CHECKING:
    import zarr

IMAGE_CHUNK = (3, 1024, 1024)
CONTAINER, ELEMENT, TABLE = "0.2", "0.3", "0.2"  # versions of the layout that SpatialData writes itself


def element_name(prediction: Prediction) -> str:
    """The slide's name in what SpatialData allows: letters, digits, ``_``, ``-`` and ``.``."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", prediction.slide_id).lstrip("_.") or "slide"


def write_spatialdata(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as a folder: image ``<slide>_he`` (the overview), shapes ``<slide>_tiles`` (a square per
    tile), table ``table`` (what the h5ad holds, annotating those shapes).

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import zarr
    from zarr.storage import LocalStore

    name = element_name(prediction)
    with atomic_path(path, force) as temp:
        root = zarr.open_group(LocalStore(temp), mode="w-", zarr_format=3)
        root.attrs.update({"spatialdata_attrs": {"version": CONTAINER}})
        _write_image(root.create_group("images"), f"{name}_he", prediction)
        _write_shapes(root.create_group("shapes"), temp, f"{name}_tiles", prediction)
        _write_table(root.create_group("tables"), f"{name}_tiles", prediction, progress)
        with warnings.catch_warnings(action="ignore"):  # the shapes are a file that Zarr does not know
            zarr.consolidate_metadata(root.store)


def _write_image(images: zarr.Group, name: str, prediction: Prediction) -> None:
    from zarr.codecs import ZstdCodec

    pixels = np.ascontiguousarray(prediction.hires.transpose(2, 0, 1))
    per_px = 1 / prediction.hires_scalef
    systems = {"global": per_px, "um": per_px * prediction.grid.mpp}
    channels = [{"label": label, "active": True, "color": colour} for label, colour in _CHANNELS]
    multiscale = {
        "name": f"/images/{name}",
        "axes": [
            {"name": "c", "type": "channel"},
            {"name": "y", "type": "space"},
            {"name": "x", "type": "space"},
        ],
        "datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}],
        "coordinateTransformations": [_scaled(system, "cyx", scale) for system, scale in systems.items()],
    }
    image = images.create_group(
        name,
        attributes={
            "ome": {
                "version": "0.5-dev-spatialdata",
                "omero": {"channels": channels},
                "multiscales": [multiscale],
            },
            "spatialdata_attrs": {"version": ELEMENT},
        },
    )
    array = image.create_array(
        "s0",
        shape=pixels.shape,
        dtype="uint8",
        chunks=tuple(min(a, b) for a, b in zip(IMAGE_CHUNK, pixels.shape, strict=True)),
        compressors=[ZstdCodec(level=3, checksum=True)],
        dimension_names=("c", "y", "x"),
    )
    array[...] = pixels


INSTANCE = "tile_number"
"""What joins tiles and table: whole numbers, since napari-spatialdata takes no names of polygons."""
_CHANNELS = (("r", "FF0000"), ("g", "00FF00"), ("b", "0000FF"))


def _write_shapes(shapes: zarr.Group, folder: Path, name: str, prediction: Prediction) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    grid = prediction.grid
    shapes.create_group(
        name,
        attributes={
            "encoding-type": "ngff:shapes",
            "axes": ["x", "y"],
            "coordinateTransformations": [_scaled("global", "xy", 1.0), _scaled("um", "xy", grid.mpp)],
            "spatialdata_attrs": {"version": ELEMENT},
        },
    )
    index = pd.RangeIndex(len(grid), name=INSTANCE).astype(np.int64)
    squares = pd.DataFrame({"geometry": _squares(grid.centre_l0, grid.pitch_um / grid.mpp)}, index)
    table = pa.Table.from_pandas(squares)
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": None}
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = table.replace_schema_metadata({**table.schema.metadata, b"geo": json.dumps(geo).encode()})
    pq.write_table(table, folder / "shapes" / name / "shapes.parquet", compression="zstd")


def _squares(centre: F64, edge: float) -> list[bytes]:
    """A square around each centre as well-known binary: byte order, polygon, one ring of five points."""
    ring = np.dtype([("order", "u1"), ("kind", "<u4"), ("rings", "<u4"), ("points", "<u4"), ("xy", "<f8", (5, 2))])
    out = np.zeros(len(centre), ring)
    out["order"], out["kind"], out["rings"], out["points"] = 1, 3, 1, 5
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * edge / 2
    out["xy"] = centre[:, None] + corners
    return [square.tobytes() for square in out]


def _write_table(tables: zarr.Group, region: str, prediction: Prediction, progress: Progress) -> None:
    attrs = {"region": region, "region_key": "region", "instance_key": INSTANCE}
    table = tables.create_group("table")
    content = elements(prediction)
    content["obs"][INSTANCE] = np.arange(len(prediction.grid), dtype=np.int64)
    content["obs"]["region"] = categorical(np.full(len(prediction.grid), region))
    content["uns"]["spatialdata_attrs"] = attrs
    write_elements(table, content)
    table.attrs.update({"spatialdata-encoding-type": "ngff:regions_table", "version": TABLE, **attrs})
    write_x(table, prediction, progress)


def _scaled(system: str, axes: str, scale: float) -> dict[str, Any]:
    """The transformation from an element's own ``axes`` to a coordinate system, ``scale`` of it per unit."""

    def plane(name: str) -> dict[str, Any]:
        unit = "micrometer" if name == "um" else "unit"
        each = [
            {"name": axis, "type": "channel"} if axis == "c" else {"name": axis, "type": "space", "unit": unit}
            for axis in axes
        ]
        return {"name": name, "axes": each}

    factors = [1.0 if axis == "c" else scale for axis in axes]
    return {"type": "scale", "scale": factors, "input": plane(axes), "output": plane(system)}
