"""The formats of a prediction. Two are results, which say all of themselves and can be read back: AnnData as one
h5ad file, or as one Zarr v3 store. The others are made of the same for other programs: SpatialData, Parquet, CSV,
QuPath's GeoJSON, OME-TIFF, h5ad by the CELLxGENE schema.

Both results hold the same elements (n tiles, g genes, k neighbours):

- ``X`` f32[n, g], log1p of normalised counts; ``var_names`` gene symbols, ``var["gene_ids"]``,
  ``var["reference_p01"]`` and ``["reference_p99"]`` f32[g], what was measured in the reference;
  the columns of :mod:`bleep_cli.bundle.learned.per_gene` f32[g], how well each gene is predicted, where that is
  known;
  ``reliable`` bool[g] where a least r was asked for;
- ``obs_names`` = ``obs["tile_id"]``, as given by ``at``, else ``<slide>_<row>x<column>``;
  ``obs["in_tissue"]`` 0 or 1, ``array_row``, ``array_col``;
  ``obs["region"]``, the slide's name in every row (spatialdata's region column: the element that the rows
  annotate); ``obs["tissue_piece"]``, the piece of tissue a tile lies on; then ``Prediction.obs``:
  ``similarity``, ``on_glass`` and ``under_ink`` f32, shares of the tile (docs/masks.md);
- ``obsm["spatial"]`` f64[n, 2], (x, y) tile centres in level-0 px, origin top left;
  ``obsm["neighbours"]`` i32[n, k] rows of the reference and ``obsm["neighbour_similarity"]`` f32[n, k];
  ``obsm["offset"]`` f32[n, d] where predictions are corrected or projected: times the bundle's slope (of
  expression, or of scores, and then times the loadings) it is what the mean of the neighbours is corrected by;
- ``layers["lower"]`` and ``["upper"]``, ``["sample_1"]``, ..., f32[n, g], where they were asked for;
- ``uns["spatial"][slide]`` as squidpy and scanpy read it, ``uns["spatialdata_attrs"]``, ``uns["log1p"]``, and
  ``uns["bleep"]``, the provenance.

``X`` is written block by block: memory does not grow with the slide.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from bleep_cli.errors import OutputError, UsageError, option
from bleep_cli.outputs.exports.cellxgene import write_cellxgene
from bleep_cli.outputs.exports.csv_table import write_csv
from bleep_cli.outputs.exports.geojson import write_geojson
from bleep_cli.outputs.exports.ome_tiff import write_ome_tiff
from bleep_cli.outputs.exports.parquet import write_parquet
from bleep_cli.outputs.exports.spatial_data import write_spatialdata
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.zarr_store import write_zarr
from bleep_cli.types import Prediction, Progress, no_progress


class Writer(Protocol):
    """Writes one prediction to ``path``, whole or not at all; ``OutputError`` if that fails."""

    def __call__(
        self, prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
    ) -> None: ...


@dataclass(frozen=True)
class Format:
    """One value of ``--format``."""

    suffix: str
    """Ending of its files, with the dot."""
    write: Writer


def output_path(folder: Path, slide_id: str, format_name: str) -> Path:
    """Where a slide's prediction goes: ``folder/<slide_id><suffix>``.

    ``UsageError`` for a format that :data:`FORMATS` does not hold, ``OutputError`` for a slide name that
    cannot name a file.
    """
    if format_name not in FORMATS:
        raise UsageError(f"{option('format')} {format_name} is not known; there are {', '.join(FORMATS)}")
    if slide_id in ("", ".", "..") or any(sign in slide_id for sign in "/\\\0"):
        raise OutputError(f"the slide's name {slide_id!r} cannot name a file; rename the slide")
    return folder / f"{slide_id}{FORMATS[format_name].suffix}"


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "h5ad": Format(".h5ad", write_h5ad),
        "zarr": Format(".zarr", write_zarr),
        "spatialdata": Format(".spatialdata.zarr", write_spatialdata),
        "parquet": Format(".bleep.parquet", write_parquet),
        "csv": Format(".bleep.csv", write_csv),
        "geojson": Format(".bleep.geojson", write_geojson),
        "ometiff": Format(".bleep.ome.tif", write_ome_tiff),
        "cellxgene": Format(".cellxgene.h5ad", write_cellxgene),
    }
)
"""The values of ``--format`` that are tables. What is named like the files of users (masks, positions) says
``.bleep`` in its name, so that no ``--force`` replaces theirs."""

RESULTS = ("h5ad", "zarr")
"""Those that can be read back (:func:`bleep_cli.outputs.read.open_result`)."""
