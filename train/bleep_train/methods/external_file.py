"""Predictions that other programs wrote, read to one shape: AnnData files and stores, and tables.

What is what is known by name, never by looking at values:

- h5ad and AnnData Zarr: as OmicVerse writes them (centres of tiles in ``obsm["spatial"]``) and as DeepSpot does
  (barcodes); values in ``X``, or in the layer ``deepspotm`` or ``predicted`` where there is one.
- CSV, TSV and Parquet: a row per tile or spot, a column per gene, as LazySlide's table of tiles (``tile_id``,
  ``tissue_id``, ``geometry``) and tables with the corners ``x1 y1 x2 y2`` of each tile, as TIAToolbox gives them.

``x_pixel`` and ``y_pixel`` are no coordinates here: DeepSpot's first is the row, others' is the column.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.reasons import reason
from bleep_cli.cohort.readers.h5ad import read_anndata
from bleep_cli.errors import UsageError, option
from bleep_cli.types import F32, F64, Str

if TYPE_CHECKING:
    import pandas as pd

BARCODES = ("barcode", "barcodes", "spot_id", "spot", "tile_id")
SECTIONS = ("section", "section_id", "sample", "sample_id", "sampleID", "library_id", "slide", "slide_id")
GENE_IDS = ("gene_ids", "gene_id", "ensembl_id")
LAYERS = ("deepspotm", "predicted")
CENTRES = (("x", "y"), ("pxl_col_in_fullres", "pxl_row_in_fullres"))
CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
OTHERS = (
    *("geometry", "tissue_id", "tile_name", "level", "x_pixel", "y_pixel", "x_coord", "y_coord", "in_tissue"),
    *("array_row", "array_col", "x_array", "y_array", "index"),
)
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")


@dataclass(frozen=True)
class Foreign:
    """Predictions as they stand in a file: n rows (spots or tiles), g genes."""

    values: F32
    """f32[n, g]"""
    genes: Str
    """str[g] symbols or Ensembl ids"""
    gene_ids: Str | None
    """str[g] Ensembl ids, where the file names them beside symbols"""
    names: Str
    """str[n] barcodes, or whatever the rows are called"""
    section: Str | None
    """str[n] the section of each row; None where the file does not say"""
    xy: F64 | None
    """f64[n, 2] centres (x, y), meant to be level-0 pixels; None where the file has no coordinates"""
    marks: frozenset[str]
    """What the file says of its values: keys of ``uns``, and the name of the layer."""


def read_foreign(path: Path) -> Foreign:
    """The predictions of a file or AnnData store. Raises ``UsageError`` for what cannot be read."""
    try:
        if path.suffix == ".h5ad" or path.is_dir():
            return _anndata(path)
        if path.name.endswith(TABLES):
            return _table(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise UsageError(f"{option('methods')} external: {path.name} cannot be read ({reason(error)})") from error
    raise UsageError(
        f"{option('methods')} external: {path.name}: known are .h5ad, AnnData .zarr, {', '.join(TABLES)}"
    )


def _anndata(path: Path) -> Foreign:
    data = read_anndata(path)
    layer = next((name for name in LAYERS if name in data.layers), None)
    matrix = data.layers[layer] if layer else data.X
    if matrix is None:
        raise ValueError(f"neither X nor one of the layers {', '.join(LAYERS)}")
    dense = matrix.toarray() if hasattr(matrix, "toarray") else matrix
    ids = next((name for name in GENE_IDS if name in data.var), None)
    barcodes = next((name for name in BARCODES if name in data.obs), None)
    xy = np.asarray(data.obsm["spatial"], np.float64)[:, :2] if "spatial" in data.obsm else _centres(data.obs)
    return Foreign(
        values=np.asarray(dense, np.float32),
        genes=data.var_names.to_numpy(dtype=str),
        gene_ids=data.var[ids].to_numpy(dtype=str) if ids else None,
        names=data.obs[barcodes].to_numpy(dtype=str) if barcodes else data.obs_names.to_numpy(dtype=str),
        section=_section(data.obs),
        xy=xy,
        marks=frozenset({*data.uns, *([layer] if layer else [])}),
    )


def _table(path: Path) -> Foreign:
    import pandas as pd

    if path.suffix == ".parquet":
        frame = pd.read_parquet(path)
    else:
        frame = pd.read_csv(path, sep="\t" if ".tsv" in path.suffixes else ",")
    if str(frame.columns[0]).startswith("Unnamed"):  # an index without a name
        frame = frame.set_index(frame.columns[0])
    barcodes = next((name for name in BARCODES if name in frame), None)
    known = {*BARCODES, *SECTIONS, *OTHERS, *(name for group in (*CENTRES, *CORNERS) for name in group)}
    genes = [str(c) for c in frame.columns if str(c) not in known]
    return Foreign(
        values=frame[genes].to_numpy(np.float32),
        genes=np.array(genes, dtype=str),
        gene_ids=None,
        names=(frame[barcodes] if barcodes else frame.index.to_series()).astype(str).to_numpy(dtype=str),
        section=_section(frame),
        xy=_centres(frame),
        marks=frozenset(),
    )


def _section(frame: pd.DataFrame) -> Str | None:
    column = next((name for name in SECTIONS if name in frame), None)
    return frame[column].astype(str).to_numpy(dtype=str) if column else None


def _centres(frame: pd.DataFrame) -> F64 | None:
    for x, y in CENTRES:
        if x in frame and y in frame:
            return frame[[x, y]].to_numpy(np.float64)
    for corners in CORNERS:
        if all(name in frame for name in corners):
            box = frame[list(corners)].to_numpy(np.float64)
            return np.asarray((box[:, :2] + box[:, 2:]) / 2)
    return _boxes(frame["geometry"]) if "geometry" in frame else None


def _boxes(shapes: Iterable[bytes | str]) -> F64:
    """Middle of the bounding box of each polygon, f64[n, 2]; polygons as WKB (GeoParquet) or WKT (text)."""
    points = [_wkb(shape) if isinstance(shape, bytes) else _wkt(str(shape)) for shape in shapes]
    return np.array([(one.min(axis=0) + one.max(axis=0)) / 2 for one in points])


def _wkb(shape: bytes) -> F64:
    """Points of the outer ring of a polygon in well-known binary (OGC 06-103r4, 8.2)."""
    order = "<" if shape[0] == 1 else ">"
    kind, rings, count = struct.unpack_from(f"{order}III", shape, 1)
    if kind != 3 or not rings:
        raise ValueError(f"geometry is no polygon (WKB type {kind})")
    return np.frombuffer(shape, f"{order}f8", 2 * count, 13).reshape(count, 2).astype(np.float64)


def _wkt(shape: str) -> F64:
    if not shape.lstrip().upper().startswith("POLYGON"):
        raise ValueError(f"geometry is no polygon ({shape[:20]})")
    numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", shape)]
    return np.array(numbers, np.float64).reshape(-1, 2)
