"""Tables read some rows at a time: in blocks of one size, stacked, and put into a temporary file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.base.rows import SpooledRows, StackedRows, regrouped, row_blocks

TABLE = np.arange(60, dtype=np.float32).reshape(20, 3)


@pytest.mark.parametrize("size", [1, 7, 10, 11, 29, 30, 31])
@pytest.mark.parametrize("n", [10, 29, 30])
@pytest.mark.parametrize("rows", [1, 10, 100])
def test_blocks_of_any_size_become_blocks_of_one(size: int, n: int, rows: int) -> None:
    table = np.arange(n * 2, dtype=np.float32).reshape(n, 2)
    blocks = [block.copy() for (block,) in regrouped(((block,) for block in row_blocks(table, size)), rows)]
    assert [len(block) for block in blocks] == [rows] * (n // rows) + [n % rows] * (n % rows > 0)
    np.testing.assert_array_equal(np.concatenate(blocks), table)
    assert blocks[0].dtype == np.float32


@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_arrays_are_regrouped_together_into_one_buffer(rows: int) -> None:
    order = np.random.default_rng(0).permutation(23)
    vectors = np.stack([order, order**2], axis=1).astype(np.float32)
    cuts = ((0, 4), (4, 4), (4, 5), (5, 19), (19, 23))  # one of them empty
    held, groups = set(), []
    for tiles, group in regrouped(((order[i:j], vectors[i:j]) for i, j in cuts), rows):
        held.add((tiles.__array_interface__["data"], group.__array_interface__["data"]))
        groups.append((tiles.copy(), group.copy()))
    assert len(held) == 1
    assert [len(tiles) for tiles, _ in groups] == [rows] * (23 // rows) + [23 % rows] * (23 % rows > 0)
    np.testing.assert_array_equal(np.concatenate([tiles for tiles, _ in groups]), order)
    np.testing.assert_array_equal(np.concatenate([group for _, group in groups]), vectors)


def test_no_blocks_are_no_blocks() -> None:
    assert list(regrouped(iter([(TABLE[:0],)]), 5)) == []
    assert list(regrouped(iter([]), 5)) == []


@pytest.mark.parametrize("step", [1, 6, 7, 13, 20, 50])
def test_stacked_parts_are_one_table(step: int) -> None:
    stacked = StackedRows([TABLE[:6], sparse.csr_matrix(TABLE[6:13]), TABLE[13:].astype(np.float16)])
    assert stacked.shape == (20, 3)
    blocks = list(row_blocks(stacked, step))
    assert all(isinstance(block, np.ndarray) and block.dtype == np.float32 for block in blocks)
    assert [len(block) for block in blocks] == [len(TABLE[i : i + step]) for i in range(0, 20, step)]
    np.testing.assert_array_equal(np.concatenate(blocks), TABLE)


class Untouchable:
    shape = (5, 3)

    def __getitem__(self, rows: slice, /) -> None:
        pytest.fail("read")


def test_parts_that_are_not_asked_for_are_not_read() -> None:
    stacked = StackedRows([Untouchable(), TABLE, Untouchable()])
    np.testing.assert_array_equal(stacked[5:25], TABLE)
    assert stacked[30:40].shape == (0, 3)


def test_spooled_rows_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bleep_cli.base.rows.ROW_BLOCK", 7)
    spooled = SpooledRows(TABLE)
    assert spooled.shape == (20, 3)
    for rows in (slice(0, 20), slice(3, 4), slice(15, 99), slice(8, 8)):
        np.testing.assert_array_equal(spooled[rows], TABLE[rows])
        assert spooled[rows].dtype == np.float32
