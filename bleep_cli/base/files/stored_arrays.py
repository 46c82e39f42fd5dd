"""Arrays of HDF5 and Zarr held against what they claim, before SciPy, AnnData or NumPy are given them.

SciPy's C code believes the indices of a sparse matrix and writes where they point; HDF5 lets a file name other
files, whose bytes would be taken for its own; both let a file of some bytes declare arrays of any size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.unpacked import regular
from bleep_cli.limits import MOST_COUNTS, MOST_HDF5_RATIO, MOST_NODES, MOST_SPOTS, RATIO_FREE_ARRAY, over

if TYPE_CHECKING:
    import h5py
    import zarr
    from numpy.typing import NDArray

AT_ONCE = 1 << 24  # indices that are looked at together
SPARSE = ("data", "indices", "indptr")


class UnsoundError(ValueError):
    """What is wrong with what a file claims; its text names no folder."""


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file for reading, all of it checked: its bytes are its own, sizes can be, matrices are sound.

    Raises ``UnsoundError`` that names what is wrong, ``ValueError`` for what is no file, ``OSError`` for what
    cannot be read.
    """
    import h5py

    with h5py.File(regular(path), "r") as file:
        _check_hdf5(file)
        yield file


def check_zarr(group: zarr.Group) -> None:
    """``UnsoundError`` for a Zarr group that holds an unsound sparse matrix."""
    for name, node in group.members(max_depth=None):
        if hasattr(node, "keys"):
            _check_group(name, node)
    _check_group("", group)


def check_sparse(data: Any, indices: Any, indptr: Any, across: int, down: int | None = None) -> None:
    """``UnsoundError`` unless the three arrays are a compressed matrix of ``down`` (None: any number of) rows, or
    columns, of ``across`` places each. They may lie on disk: indices are read a part at a time."""
    if any(array.ndim != 1 for array in (data, indices, indptr)):
        raise UnsoundError("its arrays are not of one dimension each")
    if any(array.dtype.kind not in "iu" for array in (indices, indptr)):
        raise UnsoundError("its indices are no whole numbers")
    if data.dtype.kind not in "biuf":
        raise UnsoundError("its values are no numbers")
    stored, rows = int(indices.shape[0]), int(indptr.shape[0]) - 1
    if stored > MOST_COUNTS:
        raise UnsoundError(over(f"a matrix of {stored:,} values", "MOST_COUNTS"))
    if int(data.shape[0]) != stored or rows < 0 or (down is not None and rows != down):
        raise UnsoundError("its arrays do not belong together")
    starts: NDArray[Any] = indptr[:]
    if starts[0] != 0 or starts[-1] != stored or (starts[1:] < starts[:-1]).any():
        raise UnsoundError("where its rows begin (indptr) does not rise from 0 to the number of its values")
    for first in range(0, stored, AT_ONCE):
        part = indices[first : first + AT_ONCE]
        if int(part.min()) < 0 or int(part.max()) >= across:
            raise UnsoundError(f"an index is beyond its {across} places")


def _check_hdf5(file: h5py.File) -> None:
    import h5py

    seen: set[int] = set()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        path, group = waiting.pop()
        for name in group:
            whole = f"{path}{name}"
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise UnsoundError(f"{whole} is in another file, which is not read")
            node = group.get(name)
            if node is None or (place := h5py.h5o.get_info(node.id).addr) in seen:
                continue  # a link that leads nowhere, or to what was seen
            seen.add(place)
            if len(seen) > MOST_NODES:
                raise UnsoundError(over("the number of its arrays and groups", "MOST_NODES"))
            if isinstance(node, h5py.Dataset):
                _check_dataset(whole, node)
            elif isinstance(node, h5py.Group):
                waiting.append((f"{whole}/", node))
        _check_group(path, group)


def _check_dataset(name: str, stored: h5py.Dataset) -> None:
    if stored.external is not None or stored.is_virtual:
        raise UnsoundError(f"{name} is stored in another file, which is not read")
    declared, held = int(stored.nbytes or 0), int(stored.id.get_storage_size())
    if declared > max(RATIO_FREE_ARRAY, MOST_HDF5_RATIO * held):
        raise UnsoundError(over(f"{name}, of which {held:,} bytes declare {declared:,},", "MOST_HDF5_RATIO"))


def _check_group(name: str, group: Any) -> None:
    """Raises ``UnsoundError`` for a sparse matrix, of AnnData's or 10x's, that is none."""
    if not all(key in group for key in SPARSE):
        return
    kind = str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
    shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape"))
    if shape is None and "shape" in group:  # of 10x: features × barcodes, by columns
        kind, shape = "csc", group["shape"][:]
    where = name.strip("/") or "the file"
    shape = tuple(int(n) for n in np.asarray(shape).ravel()) if shape is not None else ()
    if len(shape) != 2 or min(shape) < 0:
        raise UnsoundError(f"{where} is a sparse matrix without a shape")
    if max(shape) > MOST_SPOTS:
        raise UnsoundError(over(f"{where} of {shape[0]:,} × {shape[1]:,} places", "MOST_SPOTS"))
    down, across = shape[::-1] if kind.startswith("csc") else shape
    try:
        check_sparse(group["data"], group["indices"], group["indptr"], across, down)
    except UnsoundError as error:
        raise UnsoundError(f"{where} is no sound sparse matrix: {error}") from error
