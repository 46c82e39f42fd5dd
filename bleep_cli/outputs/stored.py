"""A written result as it lies on disk: opened for reading, its provenance, its size.

``kind`` is a name of :data:`bleep_cli.outputs.formats.FORMATS`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bleep_cli.base.files.hdf5 import open_hdf5
from bleep_cli.base.files.stored_arrays import check_zarr
from bleep_cli.outputs.elements import plain

if TYPE_CHECKING:
    import h5py
    import zarr
    from zarr.types import AnyArray


@contextmanager
def opened(path: Path, kind: str) -> Iterator[h5py.File | zarr.Group]:
    """The root of a result, for reading. Raises what h5py and Zarr raise."""
    if kind == "h5ad":
        with open_hdf5(path) as file:
            yield file
    else:
        import zarr

        group = zarr.open_group(zarr.storage.LocalStore(path, read_only=True), mode="r")
        check_zarr(group)
        yield group


def provenance(path: Path, kind: str) -> Any:
    """``uns["bleep"]`` as plain values. Raises what h5py, Zarr and AnnData raise."""
    from anndata.io import read_elem

    with opened(path, kind) as root:
        return plain(read_elem(root["uns/bleep"]))


def shape(path: Path, kind: str) -> tuple[int, int]:
    """(tiles, genes) of a result."""
    with opened(path, kind) as root:
        tiles, genes = cast("h5py.Dataset | AnyArray", root["X"]).shape  # for Zarr it could be a group
    return int(tiles), int(genes)
