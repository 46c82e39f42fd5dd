"""Arrays of HDF5 and Zarr are held against what they claim before a library is given them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from bleep_cli.base.files.stored_arrays import UnsoundError, check_sparse, check_zarr, open_hdf5

DATA, INDICES, INDPTR = np.ones(4), np.array([0, 2, 1, 2]), np.array([0, 2, 3, 4])


def altered(array: np.ndarray, at: int, value: int) -> np.ndarray:
    out = array.astype(np.int64)
    out[at] = value
    return out


def test_a_sound_matrix_passes() -> None:
    check_sparse(DATA, INDICES, INDPTR, 3, 3)
    check_sparse(DATA[:0], INDICES[:0], INDPTR[:1], 3, 0)


@pytest.mark.parametrize(
    ("indices", "indptr", "told"),
    [
        (altered(INDICES, 1, -1), INDPTR, "an index is beyond its 3 places"),
        (altered(INDICES, 3, 3), INDPTR, "an index is beyond its 3 places"),
        (altered(INDICES, 0, 1 << 30), INDPTR, "an index is beyond its 3 places"),
        (INDICES, altered(INDPTR, 1, 10**9), "does not rise"),
        (INDICES, altered(INDPTR, 1, -(10**6)), "does not rise"),
        (INDICES, altered(INDPTR, 0, 1), "does not rise"),
        (INDICES, altered(INDPTR, 3, 5), "does not rise"),
        (INDICES, INDPTR[:3], "do not belong together"),
        (INDICES[:3], INDPTR, "do not belong together"),
        (INDICES.astype(float), INDPTR, "no whole numbers"),
        (INDICES.reshape(2, 2), INDPTR, "one dimension"),
    ],
)
def test_an_unsound_one_is_refused(indices: np.ndarray, indptr: np.ndarray, told: str) -> None:
    with pytest.raises(UnsoundError, match=told):
        check_sparse(DATA, indices, indptr, 3, 3)


def _external_link(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")


def _external_storage(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (4,), "u1", external=[(str(folder / "secret"), 0, 4)])


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (4,))
    file.create_virtual_dataset("x", layout)


def _nothing_stored(file: h5py.File, _folder: Path) -> None:
    file.create_dataset("x", (600_000_000,), "i4")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_external_link, "x is in another file"),
        (_external_storage, "x is stored in another file"),
        (_virtual, "x is stored in another file"),
        (_nothing_stored, "x, of which 0 bytes declare 2,400,000,000, is over the limit MOST_HDF5_RATIO"),
    ],
)
def test_a_file_holds_its_own_bytes(tmp_path: Path, make: Callable[[h5py.File, Path], None], told: str) -> None:
    (tmp_path / "secret").write_bytes(b"four")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(4, dtype="u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file.create_group("deep"), tmp_path)
    with pytest.raises(UnsoundError, match=f"^deep/{told}"), open_hdf5(tmp_path / "a.h5"):
        pass


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
        file["soft"] = h5py.SoftLink("/nowhere")
    with open_hdf5(tmp_path / "a.h5") as file:
        assert set(file) == {"a", "soft"}


def test_sparse_matrices_of_zarr_are_looked_at_too(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group = root.create_group("layers/raw", attributes={"encoding-type": "csr_matrix", "shape": [3, 3]})
    for name, array in (("data", DATA), ("indices", altered(INDICES, 0, -1)), ("indptr", INDPTR)):
        group.create_array(name, data=array)
    with pytest.raises(UnsoundError, match=r"^layers/raw is no sound sparse matrix: an index is beyond"):
        check_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))
