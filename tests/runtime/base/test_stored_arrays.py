"""Arrays are held against what they claim before a library is given them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from bleep_cli.base.files.stored_arrays import UnsoundError, check_sparse, check_zarr

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


def test_no_place_holds_two_values() -> None:
    with pytest.raises(UnsoundError, match="it stores 4 values in 3 places"):
        check_sparse(DATA, np.zeros(4, int), np.array([0, 2, 3, 4]), 1, 3)


def test_sparse_matrices_of_zarr_are_looked_at_too(tmp_path: Path) -> None:
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group = root.create_group("layers/raw", attributes={"encoding-type": "csr_matrix", "shape": [3, 3]})
    for name, array in (("data", DATA), ("indices", altered(INDICES, 0, -1)), ("indptr", INDPTR)):
        group.create_array(name, data=array)
    with pytest.raises(UnsoundError, match=r"^layers/raw is no sound sparse matrix: an index is beyond"):
        check_zarr(zarr.open_group(tmp_path / "a.zarr", mode="r"))


def test_a_folder_of_zarr_is_held_against_what_it_declares(tmp_path: Path) -> None:
    """Chunks of nothing but zeros are not written."""
    root = zarr.open_group(tmp_path / "a.zarr", mode="w")
    root.create_array("a/x", shape=(60, 1 << 20), chunks=(1, 1 << 20), dtype="f4")
    check_zarr(root)
    root.create_array("y", shape=(10, 1 << 20), chunks=(1, 1 << 20), dtype="f4")
    with pytest.raises(
        UnsoundError, match=r"^what declares 293,601,280 bytes and stores .* MOST_ARRAYS_RATIO, 200 "
    ):
        check_zarr(root)
    (tmp_path / "a.zarr" / "a" / "x" / "more").write_bytes(bytes(2 << 20))
    check_zarr(root)
