"""Regularised canonical correlation analysis (Vinod 1976) between image features and expression, in closed form.

With features X f64[n, d] and the scores T f64[n, c] of expression on its principal components, both centred::

    M = Cx^-1/2 Xᵀ T Cy^-1/2,    Cx = XᵀX + λI,    Cy = TᵀT + κ·mean(s)²·I,    M = A ρ Bᵀ

A tile is embedded as ``x Cx^-1/2 A ρ``, a spot as ``t Cy^-1/2 B ρ``; their cosine is what a query is answered by.

Of many rows no float64 copy is made: XᵀX, and what else is asked of them, is summed up some rows at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bleep_cli.base.gram import leading
from bleep_cli.types import F32, F64

EXPRESSION_RIDGE = 0.1  # κ: of the mean singular value of expression, squared
HELD_VALUES = 1 << 26  # 512 MB as float64, of which a decomposition holds four; beyond it goes by blocks
BLOCK_VALUES = 1 << 24


class Table(Protocol):
    """Rows f32[n, d]: an array, or what reads them from a disk when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, d)."""

    def __getitem__(self, rows: Any, /) -> F32:
        """Some of the rows, by a slice or by their numbers."""


def blocks_of(rows: Table) -> Iterator[tuple[slice, F32]]:
    """All rows in order, some at a time."""
    n, d = rows.shape
    step = max(1, BLOCK_VALUES // max(1, d))
    for start in range(0, n, step):
        part = slice(start, min(start + step, n))
        yield part, rows[part]


@dataclass(frozen=True)
class LinearHead:
    """An affine map: f32[n, d] → f32[n, k]."""

    mean: F32
    """f32[d], taken off first."""
    weights: F32
    """f32[d, k]."""

    def __call__(self, rows: F32) -> F32:
        return np.asarray((rows - self.mean) @ self.weights, np.float32)

    def of_many(self, rows: Table) -> F32:
        """The same of rows that need not fit into memory."""
        if not is_large(rows):
            return self(rows[:])
        return np.concatenate([self(block) for _, block in blocks_of(rows)])


@dataclass(frozen=True)
class Side:
    """Rows of one kind (features, or expression), centred and decomposed."""

    mean: F64
    """f64[d] what was taken off."""
    known: F64 | Table
    """f64[n, r] left singular vectors; of many rows the rows themselves, which give them when asked."""
    scale: F64
    """f64[r] singular values, largest first."""
    basis: F64
    """f64[d, r] right singular vectors."""
    by_blocks: bool = False
    """Whether ``known`` are the rows."""

    @property
    def left(self) -> F64:
        """f64[n, r] left singular vectors."""
        if not self.by_blocks:
            return np.asarray(self.known)
        out = np.empty((self.known.shape[0], len(self.scale)))
        for part, block in blocks_of(self.known):
            out[part] = (block - self.mean) @ (self.basis / self.scale)
        return out

    def across(self, other: F64) -> F64:
        """f64[r, c]: leftᵀ times other rows f64[n, c] of the same spots."""
        if not self.by_blocks:
            return np.asarray(self.left.T @ other)
        total = sum((block - self.mean).T @ other[part] for part, block in blocks_of(self.known))
        return np.asarray((self.basis / self.scale).T @ total)

    def leading(self, count: int) -> Side:
        """Its ``count`` leading components."""
        known = self.known if self.by_blocks else self.left[:, :count]
        return Side(self.mean, known, self.scale[:count], self.basis[:, :count], self.by_blocks)


def is_large(rows: Table) -> bool:
    """More than is decomposed as a whole, and more rows than columns."""
    n, d = rows.shape
    return n * d > HELD_VALUES and n > d


def decompose(rows: Table, most: int | None = None) -> Side:
    """The singular value decomposition of centred rows f32[n, d], to at most ``most`` components."""
    keep = min(most or min(rows.shape), *rows.shape)
    if is_large(rows):
        return _by_blocks(rows, keep)
    wide = rows[:].astype(np.float64)
    mean = wide.mean(axis=0)
    return Side(mean, *_thin(wide - mean, keep))


def _by_blocks(rows: Table, keep: int) -> Side:
    """The same by the Gram matrix of the columns, summed up over blocks of rows."""
    n, d = rows.shape
    mean, gram = np.zeros(d), np.zeros((d, d))
    for _, block in blocks_of(rows):
        mean += block.sum(axis=0, dtype=np.float64)
    mean /= n
    for _, block in blocks_of(rows):
        centred = block - mean
        gram += centred.T @ centred
    scale, basis = leading(gram, keep)
    return Side(mean, rows, scale, basis, by_blocks=True)


def _thin(rows: F64, keep: int) -> tuple[F64, F64, F64]:
    """Left vectors f64[n, k], singular values f64[k] and right vectors f64[d, k] by the smaller Gram matrix: the
    ``keep`` largest, without those that are rounding. Signs are fixed: the same rows give the same vectors."""
    wide = rows.shape[1] > rows.shape[0]
    scale, small = leading(rows @ rows.T if wide else rows.T @ rows, keep)
    other = (rows.T @ small if wide else rows @ small) / scale
    return (small, scale, other) if wide else (other, scale, small)


def fit_heads(features: Side, expression: Side, penalty: float) -> tuple[LinearHead, LinearHead]:
    """The image and the expression head at a penalty λ, to one space of as many dimensions as ``expression`` has
    components."""
    x_root = np.sqrt(features.scale**2 + penalty)
    y_root = np.sqrt(expression.scale**2 + EXPRESSION_RIDGE * expression.scale.mean() ** 2)
    cross = features.across(expression.left)
    m = (features.scale / x_root)[:, None] * cross * (expression.scale / y_root)
    a, rho, b = np.linalg.svd(m, full_matrices=False)
    image = features.basis @ ((a * rho) / x_root[:, None])
    spot = expression.basis @ ((b.T * rho) / y_root[:, None])
    return (
        LinearHead(features.mean.astype(np.float32), image.astype(np.float32)),
        LinearHead(expression.mean.astype(np.float32), spot.astype(np.float32)),
    )
