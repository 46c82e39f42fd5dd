"""What tiles look like, as numbers that tell strange ones: the smallest field's features and its stain, whitened.

Both are turned to principal components of the reference's own tiles, each of unit variance: a change that the
reference never shows (another focus, scanner or stain) weighs as much as the differences that it is full of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.fitting.cca import LinearHead, Table, decompose
from bleep_cli.types import F32, U8

COMPONENTS = 128
SPOTS_EACH = 4  # at least, for every component: the smallest ones of few spots are noise of these spots


@dataclass(frozen=True)
class LooksHead:
    """From a tile to its looks f32[l]."""

    features: LinearHead
    """Of the smallest field's features."""
    stain: LinearHead
    """Of its :func:`stain_of`; to :data:`STAIN` columns."""

    @property
    def dim(self) -> int:
        """l."""
        return int(self.features.weights.shape[1] + self.stain.weights.shape[1])

    def __call__(self, features: Table, stain: F32) -> F32:
        """f32[n, l] of features f32[n, d] of the smallest field and stain f32[n, 6]."""
        return np.concatenate([self.features.of_many(features), self.stain(stain)], axis=1)


def stain_of(tiles: U8) -> F32:
    """f32[b, 6]: mean and standard deviation over the pixels of the optical density, -ln((v + 1) / 256), of each
    channel of the smallest field of tiles u8[b, px, px, 3 * fields]; no flip or rotation changes it."""
    density = -np.log((tiles[..., :3].astype(np.float32) + 1) / np.float32(256)).reshape(len(tiles), -1, 3)
    return np.concatenate([density.mean(axis=1), density.std(axis=1)], axis=1)


def fit_looks(features: Table, scale: F32, stain: F32, fine: slice | None = None) -> LooksHead:
    """Whitened on the reference's tiles: ``features`` f32[n, d] of their smallest field as the backbone gives
    them, ``scale`` f32[d] by which its blocks weigh alike, ``stain`` f32[n, 6].

    Half of the components are those of the columns ``fine`` alone, where there are any: the leading ones of all
    columns are of what tissue it is, and hardly change with its scale.
    """
    count = max(1, min(COMPONENTS, features.shape[0] // SPOTS_EACH))
    spread = np.maximum(stain.std(axis=0), 1e-6)
    white = _whitened(stain, 1 / spread, STAIN)
    if fine is None or count == 1:
        return LooksHead(_whitened(features, scale, count), _padded(white))
    everything = _whitened(features, scale, count - count // 2)
    part = _whitened(features, scale, count // 2, fine)
    weights = np.zeros((features.shape[1], part.weights.shape[1]), np.float32)
    weights[fine] = part.weights
    both = LinearHead(everything.mean, np.concatenate([everything.weights, weights], axis=1))
    return LooksHead(both, _padded(white))


@dataclass(frozen=True)
class _Weighed:
    """Columns of a table f32[n, d], times those of f32[d]."""

    table: Table
    scale: F32
    columns: slice

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, columns)."""
        return self.table.shape[0], len(self.scale[self.columns])

    def __getitem__(self, rows: Any, /) -> F32:
        return self.table[rows][:, self.columns] * self.scale[self.columns]


def _whitened(rows: Table, scale: F32, count: int, columns: slice = slice(None)) -> LinearHead:
    """To the leading components of columns of rows f32[n, d] times ``scale``, of unit variance over the rows."""
    side = decompose(_Weighed(rows, scale, columns), count)
    weights, scale = side.basis / np.maximum(side.scale / np.sqrt(rows.shape[0]), 1e-9), scale[columns]
    return LinearHead(np.asarray(side.mean / scale, np.float32), (weights * scale[:, None]).astype(np.float32))


def _padded(head: LinearHead) -> LinearHead:
    """With columns of zeros where tiles vary in fewer ways."""
    short = STAIN - head.weights.shape[1]
    return LinearHead(head.mean, np.pad(head.weights, ((0, 0), (0, short))))
