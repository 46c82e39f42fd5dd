"""Prints the table of docs/other-programs.md: which program, of which version, opens what, and by which test.

    python tools/pages/consumers.py

Versions of Python packages are those of ``requirements/full-3.11.txt``, by which the tests' environment is made.
Of programs that no lock holds, the version stands here that was tried; their tests are skipped where they are not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "full-3.11.txt"
OUTPUTS = "tests/runtime/outputs"
NOT_RUN = "not run here"


@dataclass(frozen=True)
class Consumer:
    """A program that opens a format."""

    name: str
    """Its distribution, where the lock holds it."""
    format: str
    """The value of ``--format``."""
    works: str
    """What was seen to work."""
    test: str
    """The file of tests that says so."""
    version: str = ""
    """The version that was tried, of what the lock does not hold."""

    def row(self, locked: dict[str, str]) -> str:
        """Its line of the table; ``KeyError`` for a program whose version nobody states."""
        version = self.version or locked[self.name]
        return f"| {self.name} | {version} | `{self.format}` | {self.works} | `{self.test}` |"


CONSUMERS = (
    Consumer("anndata", "h5ad", "opens, also backed; encodings of 0.10 on", f"{OUTPUTS}/test_output.py"),
    Consumer("anndata", "zarr", "opens", f"{OUTPUTS}/test_output.py"),
    Consumer("scanpy", "h5ad", "plots over the slide; warns of a second log1p", f"{OUTPUTS}/test_output.py"),
    Consumer("squidpy", "h5ad", "`spatial_scatter` as it is", f"{OUTPUTS}/test_output.py"),
    Consumer("spatialdata", "spatialdata", "`read_zarr`: image, tiles, table", f"{OUTPUTS}/test_spatial_data.py"),
    Consumer(
        "spatialdata-plot", "spatialdata", "slide, tiles coloured by a gene", f"{OUTPUTS}/test_spatial_data.py"
    ),
    Consumer(
        "napari-spatialdata", "spatialdata", "picture, tiles, table", "tests/docs/test_other_programs.py", "0.7.2"
    ),
    Consumer("tifffile", "ometiff", "series, channels, sizes, levels", f"{OUTPUTS}/test_ome_tiff.py"),
    Consumer("ome-types", "ometiff", "OME-XML valid by its schema", f"{OUTPUTS}/test_ome_tiff.py"),
    Consumer("QuPath", "geojson", "its rules for imported objects", f"{OUTPUTS}/test_geojson.py", NOT_RUN),
    Consumer("geopandas", "geojson", "valid polygons", f"{OUTPUTS}/test_geojson.py"),
    Consumer("pandas", "csv", "the values to the last bit", f"{OUTPUTS}/test_plain_tables.py"),
    Consumer("pyarrow", "parquet", "the values, and the provenance", f"{OUTPUTS}/test_plain_tables.py"),
    Consumer("R, rhdf5", "h5ad", "values, names, places", f"{OUTPUTS}/test_r.py", "4.2.2, 2.42.0"),
    Consumer("R", "csv", "`read.csv`", f"{OUTPUTS}/test_r.py", "4.2.2"),
    Consumer("vitessce", "zarr", "takes the configuration below", "tests/docs/test_other_programs.py", "3.8.4"),
    Consumer("cellxgene-schema", "cellxgene", "all but what is listed", f"{OUTPUTS}/test_cellxgene.py", "7.1.2"),
)


def locked() -> dict[str, str]:
    """The version of each distribution in the lock."""
    return dict(re.findall(r"(?m)^([a-z0-9-]+)==(\S+) \\$", LOCK.read_text(encoding="utf-8")))


def table() -> str:
    """The table in Markdown."""
    head = ["| program | version | `--format` | what works | test |", "| --- | --- | --- | --- | --- |"]
    versions = locked()
    return "\n".join([*head, *(consumer.row(versions) for consumer in CONSUMERS)])


if __name__ == "__main__":
    print(table())
