"""Regularised canonical correlation analysis (Vinod 1976) between image features and expression, in closed form.

With features X f64[n, d] and the scores T f64[n, c] of expression on its principal components, both centred::

    M = Cx^-1/2 Xᵀ T Cy^-1/2,    Cx = XᵀX + λI,    Cy = TᵀT + κ·mean(s)²·I,    M = A ρ Bᵀ

A tile is embedded as ``x Cx^-1/2 A ρ``, a spot as ``t Cy^-1/2 B ρ``; their cosine is what a query is answered by.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F32, F64

EXPRESSION_RIDGE = 0.1  # κ: of the mean singular value of expression, squared


@dataclass(frozen=True)
class LinearHead:
    """An affine map: f32[n, d] → f32[n, k]."""

    mean: F32
    """f32[d], taken off first."""
    weights: F32
    """f32[d, k]."""

    def __call__(self, rows: F32) -> F32:
        return np.asarray((rows - self.mean) @ self.weights, np.float32)


@dataclass(frozen=True)
class Side:
    """Rows of one kind (features, or expression), centred and decomposed."""

    mean: F64
    """f64[d] what was taken off."""
    left: F64
    """f64[n, r] left singular vectors."""
    scale: F64
    """f64[r] singular values, largest first."""
    basis: F64
    """f64[d, r] right singular vectors."""

    def leading(self, count: int) -> Side:
        """Its ``count`` leading components."""
        return Side(self.mean, self.left[:, :count], self.scale[:count], self.basis[:, :count])


def decompose(rows: F32, most: int | None = None) -> Side:
    """The singular value decomposition of centred rows f32[n, d], to at most ``most`` components."""
    wide = rows.astype(np.float64)
    mean = wide.mean(axis=0)
    return Side(mean, *_thin(wide - mean, min(most or min(wide.shape), *wide.shape)))


def _thin(rows: F64, keep: int) -> tuple[F64, F64, F64]:
    """Left vectors f64[n, k], singular values f64[k] and right vectors f64[d, k] by the smaller Gram matrix: the
    ``keep`` largest, without those that are rounding. Signs are fixed: the same rows give the same vectors."""
    wide = rows.shape[1] > rows.shape[0]
    values, vectors = np.linalg.eigh(rows @ rows.T if wide else rows.T @ rows)
    order = np.argsort(-values, kind="stable")[:keep]
    order = order[values[order] > max(values.max(initial=0.0), 0.0) * 1e-10]
    scale, small = np.sqrt(values[order]), vectors[:, order]
    small = small * np.where(small[np.abs(small).argmax(axis=0), np.arange(len(order))] < 0, -1.0, 1.0)
    other = (rows.T @ small if wide else rows @ small) / scale
    return (small, scale, other) if wide else (other, scale, small)


def fit_heads(features: Side, expression: Side, penalty: float) -> tuple[LinearHead, LinearHead]:
    """The image and the expression head at a penalty λ, to one space of as many dimensions as ``expression`` has
    components."""
    x_root = np.sqrt(features.scale**2 + penalty)
    y_root = np.sqrt(expression.scale**2 + EXPRESSION_RIDGE * expression.scale.mean() ** 2)
    cross = features.left.T @ expression.left
    m = (features.scale / x_root)[:, None] * cross * (expression.scale / y_root)
    a, rho, b = np.linalg.svd(m, full_matrices=False)
    image = features.basis @ ((a * rho) / x_root[:, None])
    spot = expression.basis @ ((b.T * rho) / y_root[:, None])
    return (
        LinearHead(features.mean.astype(np.float32), image.astype(np.float32)),
        LinearHead(expression.mean.astype(np.float32), spot.astype(np.float32)),
    )
