"""Tables read some rows at a time: stacked, and put into a temporary file."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.base.rows import SpooledRows, StackedRows, row_blocks

TABLE = np.arange(60, dtype=np.float32).reshape(20, 3)


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
