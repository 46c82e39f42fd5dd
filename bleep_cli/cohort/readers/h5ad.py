"""AnnData as one HDF5 file (h5ad), or as a Zarr folder: raw counts, and ``obsm["spatial"]`` in level-0 pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bleep_cli.base.files.hdf5 import is_hdf5, open_hdf5
from bleep_cli.base.files.stored_arrays import check_zarr
from bleep_cli.cohort.parts.anndata_section import KEYS, libraries, section_of
from bleep_cli.cohort.parts.reader import EVERY, RawSection, Reader, Source


def read(source: Source) -> RawSection:
    """A section of the file or folder."""
    return section_of(read_anndata(source.path), source.entry)


def read_anndata(path: Path) -> Any:
    """The ``AnnData`` of a file or a Zarr folder, its arrays known to be sound.

    Raises ``ValueError`` and what AnnData does.
    """
    import anndata

    if path.is_dir():
        import zarr

        check_zarr(zarr.open_group(path, mode="r"))
        return anndata.read_zarr(path)
    with open_hdf5(path):
        return anndata.read_h5ad(path)


def h5ad_libraries(path: Path) -> list[str]:
    """Names of the sections in a file."""
    with open_hdf5(path) as file:
        return group_libraries(file)


def zarr_libraries(path: Path) -> list[str]:
    """Names of the sections in a folder."""
    import zarr

    return group_libraries(zarr.open_group(path, mode="r"))


def group_libraries(group: Any) -> list[str]:
    """Names of the sections in an AnnData's group of HDF5 or Zarr, whose counts are not read."""
    from anndata.io import read_elem

    spatial = group.get("uns/spatial", {})
    named = [name for name in spatial if hasattr(spatial[name], "keys")]
    return libraries(read_elem(group["obs"]), named)[1]


def is_h5ad(path: Path) -> bool:
    """Whether a file is HDF5 with the tables of an AnnData. ``UnsoundError`` for one that is damaged."""
    if not is_hdf5(path):
        return False
    try:
        with open_hdf5(path) as file:
            return "obs" in file and "var" in file
    except OSError:
        return False


def is_anndata_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr group with the tables of an AnnData."""
    return (path / "obs").is_dir() and (path / "var").is_dir()


H5AD = Reader(
    what="an AnnData file",
    sources=("h5ad",),
    claims=is_h5ad,
    read=read,
    keys=KEYS,
    pick="library",
    sections=h5ad_libraries,
    every=EVERY,
)
ANNDATA_ZARR = Reader(
    what="an AnnData folder of Zarr",
    sources=("h5ad", "zarr"),
    claims=is_anndata_zarr,
    read=read,
    keys=KEYS,
    pick="library",
    sections=zarr_libraries,
    every=EVERY,
)
