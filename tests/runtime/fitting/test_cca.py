"""Canonical correlation in closed form: against its definition, and on data whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bleep_cli.fitting import cca
from bleep_cli.fitting.cca import EXPRESSION_RIDGE, LinearHead, decompose, fit_heads
from bleep_cli.types import F32, F64


def made(n: int, d: int, p: int, seed: int = 0) -> tuple[F32, F32]:
    """Features and expression f32 that share three hidden factors."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 3))
    x = hidden @ rng.normal(size=(3, d)) + rng.normal(size=(n, d)) + 5
    y = hidden @ rng.normal(size=(3, p)) + 0.5 * rng.normal(size=(n, p)) + 2
    return x.astype(np.float32), y.astype(np.float32)


def root_inverse(matrix: F64) -> F64:
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


@pytest.mark.parametrize(("n", "d"), [(60, 20), (30, 80)])
@pytest.mark.parametrize("penalty", [0.3, 10.0])
def test_is_the_definition(n: int, d: int, penalty: float) -> None:
    """With both Gram matrices written out, whichever of spots and features are more."""
    x, y = made(n, d, 12)
    count = 5
    image, spot = fit_heads(decompose(x), decompose(y, count), penalty)
    xc, yc = x.astype(np.float64) - x.mean(axis=0), y.astype(np.float64) - y.mean(axis=0)
    _, s, vt = np.linalg.svd(yc, full_matrices=False)
    t = yc @ vt[:count].T
    cx = root_inverse(xc.T @ xc + penalty * np.eye(d))
    cy = root_inverse(t.T @ t + EXPRESSION_RIDGE * s[:count].mean() ** 2 * np.eye(count))
    a, rho, bt = np.linalg.svd(cx @ xc.T @ t @ cy, full_matrices=False)
    wanted_x, wanted_y = xc @ cx @ (a * rho), t @ cy @ (bt.T * rho)
    np.testing.assert_allclose(wanted_x @ wanted_y.T, image(x) @ spot(y).T, atol=2e-4)


def test_the_same_data_gives_the_same_bits() -> None:
    x, y = made(50, 70, 20)
    one, two = (fit_heads(decompose(x), decompose(y, 6), 1.0) for _ in range(2))
    for head, again in zip(one, two, strict=True):
        assert head.weights.tobytes() == again.weights.tobytes()


class Counted:
    """Rows as a table on a disk; remembers how many were asked for at a time."""

    def __init__(self, rows: F32) -> None:
        self.rows, self.most = rows, 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    def __getitem__(self, rows: Any, /) -> F32:
        found = self.rows[rows]
        self.most = max(self.most, len(found))
        return found


@pytest.mark.parametrize("count", [None, 7])
def test_many_rows_are_decomposed_by_blocks_to_the_same(
    monkeypatch: pytest.MonkeyPatch, count: int | None
) -> None:
    x, _ = made(300, 40, 12)
    whole = decompose(x, count)
    monkeypatch.setattr(cca, "HELD_VALUES", 0)
    monkeypatch.setattr(cca, "BLOCK_VALUES", 40 * 32)
    rows = Counted(x)
    parts = decompose(rows, count)
    assert rows.most == 32
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)
    np.testing.assert_allclose(parts.scale, whole.scale, rtol=1e-10)
    np.testing.assert_allclose(parts.basis, whole.basis, atol=1e-8)
    np.testing.assert_allclose(parts.left, whole.left, atol=1e-8)
    np.testing.assert_allclose(parts.leading(3).left, whole.left[:, :3], atol=1e-8)
    other = np.random.default_rng(1).normal(size=(300, 5))
    np.testing.assert_allclose(parts.across(other), whole.left.T @ other, atol=1e-8)


def test_heads_of_many_rows_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = made(500, 60, 30)
    whole = fit_heads(decompose(x), decompose(y, 8), 3.0)
    rows = [head(side) for head, side in zip(whole, (x, y), strict=True)]
    monkeypatch.setattr(cca, "HELD_VALUES", 0)
    monkeypatch.setattr(cca, "BLOCK_VALUES", 60 * 64)
    parts = fit_heads(decompose(x), decompose(y, 8), 3.0)
    for head, wanted, side in zip(parts, rows, (x, y), strict=True):
        np.testing.assert_allclose(head(side), wanted, atol=1e-6 * np.abs(wanted).max())
        np.testing.assert_allclose(head.of_many(Counted(side)), head(side), rtol=1e-5, atol=1e-6)


def test_wide_tables_go_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = made(30, 80, 12)
    whole = decompose(x)
    monkeypatch.setattr(cca, "HELD_VALUES", 0)
    assert decompose(x).left.tobytes() == whole.left.tobytes()


def test_a_spot_is_nearest_its_own_tile() -> None:
    """What both sides share is found: most spots that the fit has not seen are among the first of their tile's."""
    x, y = made(400, 30, 40)
    image, spot = fit_heads(decompose(x[:300]), decompose(y[:300], 10), 1.0)
    sides = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image(x[300:]), spot(y[300:]))]
    cosine = sides[0] @ sides[1].T
    rank = (cosine > np.diag(cosine)[:, None]).sum(axis=1)
    assert np.median(rank) < 5  # of 100; by chance 50


def test_constant_columns_and_repeated_rows_do_no_harm() -> None:
    x, y = made(40, 10, 8)
    x[:, 3], y[:, 2] = 7, 1
    image, spot = fit_heads(decompose(np.repeat(x, 2, axis=0)), decompose(np.repeat(y, 2, axis=0), 20), 1.0)
    assert np.isfinite(image(x)).all()
    assert np.isfinite(spot(y)).all()
    assert image.weights.shape[1] == spot.weights.shape[1] == 7  # y varies in no more directions


def test_a_head_is_affine() -> None:
    head = LinearHead(np.array([1, 2], np.float32), np.array([[1.0], [10.0]], np.float32))
    np.testing.assert_array_equal(head(np.array([[2, 4]], np.float32)), [[21]])
