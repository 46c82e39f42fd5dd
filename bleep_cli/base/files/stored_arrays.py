"""Arrays of HDF5 and Zarr held against what they claim, before SciPy, AnnData or NumPy are given them.

SciPy's C code believes the indices of a sparse matrix and writes where they point; HDF5 lets a file name other
files, whose bytes would be taken for its own; both let a file of some bytes declare arrays of any size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bleep_cli.limits import LARGE_BYTES, MOST_ARRAYS_RATIO, MOST_COUNTS, MOST_SPOTS, over

if TYPE_CHECKING:
    import zarr
    from numpy.typing import NDArray

AT_ONCE = 1 << 24  # indices that are looked at together
SPARSE = ("data", "indices", "indptr")


class UnsoundError(ValueError):
    """What is wrong with what a file claims; its text names no folder."""


def check_zarr(group: zarr.Group) -> None:
    """``UnsoundError`` for a Zarr group that declares far more than its folder stores, or holds an unsound sparse
    matrix."""
    groups: list[tuple[str, Any]] = [("", group)]
    declared = 0
    for name, node in group.members(max_depth=None):
        if hasattr(node, "keys"):
            groups.append((name, node))
        else:
            declared += int(node.nbytes)
    if declared > LARGE_BYTES:
        folder = Path(cast("zarr.storage.LocalStore", group.store).root) / group.path
        stored = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        if declared > MOST_ARRAYS_RATIO * stored:
            told = f"what declares {declared:,} bytes and stores {stored:,}"
            raise UnsoundError(over(told, "MOST_ARRAYS_RATIO"))
    for name, node in groups:
        check_group(name, node)


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
    if stored > rows * across:
        raise UnsoundError(f"it stores {stored:,} values in {rows * across:,} places")
    starts: NDArray[Any] = indptr[:]
    if starts[0] != 0 or starts[-1] != stored or (starts[1:] < starts[:-1]).any():
        raise UnsoundError("where its rows begin (indptr) does not rise from 0 to the number of its values")
    for first in range(0, stored, AT_ONCE):
        part = indices[first : first + AT_ONCE]
        if int(part.min()) < 0 or int(part.max()) >= across:
            raise UnsoundError(f"an index is beyond its {across} places")


def is_sparse(group: Any) -> bool:
    """Whether a group of HDF5 or Zarr holds the three arrays of a sparse matrix."""
    return all(key in group for key in SPARSE)


def check_group(name: str, group: Any) -> None:
    """Raises ``UnsoundError`` for a group of HDF5 or Zarr that is a sparse matrix, of AnnData's or 10x's, and none
    that is sound."""
    if not is_sparse(group):
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
