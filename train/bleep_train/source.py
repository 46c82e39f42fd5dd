"""Where training batches of the image side come from: cached features of a frozen backbone, or tiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bleep_cli.types import F32, I64, U8
from bleep_train.data import VIEWS
from bleep_train.model import ImageTower


class ImageSource(Protocol):
    """Embeds training spots, each in one of its eight views."""

    def embed(self, tower: ImageTower, rows: I64, views: I64) -> Tensor:
        """Spots ``rows`` i64[b] in ``views`` i64[b] of 0..7 → f32[b, dim], with gradient."""


class FeatureSource:
    """Features of a frozen backbone, ``f32[n, 8, d]``; only the head is run."""

    def __init__(self, features: Sequence[F32], device: torch.device) -> None:
        self._features = torch.from_numpy(np.concatenate([np.asarray(f) for f in features])).to(device)

    def fit(self, tower: ImageTower) -> None:
        """Gives the tower the features' mean and deviation over all spots and views."""
        flat = self._features.flatten(0, 1)
        tower.scale.fit(flat.mean(dim=0), flat.std(dim=0))

    def embed(self, tower: ImageTower, rows: I64, views: I64) -> Tensor:
        """See :class:`ImageSource`."""
        return tower.project(self._features[torch.from_numpy(rows), torch.from_numpy(views)])


class TileSource:
    """Tiles ``u8[n, p, p, 3 * fields]``, memory-mapped; turned on the device, through the whole tower."""

    def __init__(self, tiles: Sequence[U8], device: torch.device) -> None:
        self._tiles, self._device = list(tiles), device
        self._start = np.cumsum([0, *(len(t) for t in tiles)])

    def fit(self, tower: ImageTower, sample: int = 512) -> None:
        """Statistics from an even sample of the spots, upright."""
        rows = np.unique(np.linspace(0, self._start[-1] - 1, min(sample, self._start[-1])).astype(np.int64))
        tower.eval()
        with torch.inference_mode():
            parts = [tower.features(self._batch(rows[i : i + 32])) for i in range(0, len(rows), 32)]
        features = torch.cat(parts).float()
        tower.scale.fit(features.mean(dim=0), features.std(dim=0))

    def embed(self, tower: ImageTower, rows: I64, views: I64) -> Tensor:
        """See :class:`ImageSource`."""
        return tower(turned(self._batch(rows), views))  # type: ignore[no-any-return]

    def _batch(self, rows: I64) -> Tensor:
        section = np.searchsorted(self._start, rows, side="right") - 1
        tiles = np.stack([self._tiles[s][r - self._start[s]] for s, r in zip(section, rows, strict=True)])
        tensor = torch.from_numpy(tiles)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)


def turned(tiles: Tensor, views: I64) -> Tensor:
    """Each tile of f32[b, c, p, p] in its own view, in the order of ``bleep_cli.encoder.views_of``."""
    out = torch.empty_like(tiles)
    for view in range(VIEWS):
        rows = torch.from_numpy(np.flatnonzero(views == view))
        if len(rows):
            part = tiles[rows].flip(3) if view >= VIEWS // 2 else tiles[rows]
            out[rows] = torch.rot90(part, view % 4, dims=(2, 3))
    return out
