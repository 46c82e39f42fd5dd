"""Blocks of features made to weigh alike."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_cli.towers import levels
from bleep_cli.towers.levels import block_scale, width_scale


def test_width_alone_for_the_shipped_network() -> None:
    rows = np.random.default_rng(2).normal(size=(9, 5)).astype(np.float32)
    assert width_scale([4, 1]).tolist() == [0.5, 0.5, 0.5, 0.5, 1]
    assert block_scale([4, 1], rows, shipped=True).tolist() == width_scale([4, 1]).tolist()


@pytest.mark.parametrize("rows_at_a_time", [7, 4096])
def test_blocks_weigh_alike_whatever_their_width_and_their_numbers(
    monkeypatch: pytest.MonkeyPatch, rows_at_a_time: int
) -> None:
    monkeypatch.setattr(levels, "ROWS", rows_at_a_time)
    rng = np.random.default_rng(0)
    size = np.repeat([1.0, 1e-3, 50.0], [4, 30, 2])
    rows = (rng.normal(size=(200, 36)) * size + 3 * size).astype(np.float32)
    scaled = (rows * block_scale([4, 30, 2], rows, shipped=False)).astype(np.float64)
    of_block = [part.var(axis=0).sum() for part in np.split(scaled, [4, 34], axis=1)]
    np.testing.assert_allclose(of_block, 1, rtol=1e-4)


def test_what_varies_little_about_a_large_number_loses_no_digits() -> None:
    rows = (1e4 + np.random.default_rng(1).normal(size=(500, 3)) * 0.1).astype(np.float32)
    scaled = rows.astype(np.float64) * block_scale([3], rows, shipped=False)
    assert scaled.var(axis=0).sum() == pytest.approx(1, rel=1e-3)


def test_a_block_that_never_varies_is_left_as_it_is() -> None:
    rows = np.ones((5, 3), np.float32)
    rows[:, 2] = np.arange(5)
    assert block_scale([2, 1], rows, shipped=False)[:2].tolist() == width_scale([2]).tolist()
    assert block_scale([3], rows[:1], shipped=False).tolist() == width_scale([3]).tolist()
