"""Where training batches of the image side come from: cached features of a frozen backbone, or tiles.

A batch takes three steps. ``fetch`` reads it into host memory and may run in another thread; ``prepare`` makes
what the tower takes of it, on the device; ``run`` is the tower's part that learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from bleep_cli.types import F32, I64, U8
from bleep_train.model.towers import ImageTower
from bleep_train.training.augment import restained, turned


class ImageSource(Protocol):
    """Gives the image tower's input for training spots, each in one of its eight views."""

    def fetch(self, rows: I64) -> Tensor:
        """What spots ``rows`` i64[b] need, b first, on the host."""
        ...

    def prepare(self, fetched: Tensor, views: I64, stain: F32 | None = None) -> Tensor:
        """What was fetched → input of ``run``, on the device; ``views`` i64[b] of 0..7, ``stain`` f32[b, 2, 3]
        perturbs each tile's stains (``augment.py``)."""
        ...

    def run(self, tower: ImageTower, inputs: Tensor) -> Tensor:
        """→ f32[b, dim], with gradient, not normalised."""
        ...

    def embed(self, tower: ImageTower, rows: I64, views: I64) -> Tensor:
        """All three steps: spots ``rows`` i64[b] in ``views`` i64[b] → f32[b, dim]."""
        return self.run(tower, self.prepare(self.fetch(rows), views))


class FeatureSource(ImageSource):
    """Features of a frozen backbone, ``f32[n, 8, d]``; only the head is run."""

    def __init__(self, features: Sequence[F32], device: torch.device) -> None:
        self._features = torch.from_numpy(np.concatenate([np.asarray(f) for f in features])).to(device)

    def fit(self, tower: ImageTower, rows: I64 | None = None) -> None:
        """Gives the tower the features' mean and deviation over all views of ``rows``, default all spots."""
        chosen = self._features if rows is None else self._features[torch.from_numpy(rows)]
        flat = chosen.flatten(0, 1)
        tower.scale.fit(flat.mean(dim=0), flat.std(dim=0))

    def mean_features(self, tower: ImageTower, rows: I64) -> F32:
        """f32[b, d]: what the tower's head takes of spots ``rows`` i64[b], averaged over the views."""
        chosen = self._features[torch.from_numpy(rows).to(self._features.device)]
        return tower.scale(chosen).mean(dim=1).cpu().numpy()  # type: ignore[no-any-return]

    def fetch(self, rows: I64) -> Tensor:
        """Nothing but the rows: all features are on the device."""
        return torch.from_numpy(rows)

    def prepare(self, fetched: Tensor, views: I64, stain: F32 | None = None) -> Tensor:
        """See :class:`ImageSource`; features know no stains, and the configuration refuses to ask for them."""
        return self._features[fetched, torch.from_numpy(views).to(fetched.device)]

    def run(self, tower: ImageTower, inputs: Tensor) -> Tensor:
        """See :class:`ImageSource`."""
        return tower.project(inputs)


class TileSource(ImageSource):
    """Tiles ``u8[n, p, p, 3 * fields]``, memory-mapped; augmented on the device, through the whole tower."""

    def __init__(self, tiles: Sequence[U8], device: torch.device) -> None:
        self._tiles, self._device = list(tiles), device
        self._start = np.cumsum([0, *(len(t) for t in tiles)])

    def fit(self, tower: ImageTower, rows: I64 | None = None, sample: int = 512) -> None:
        """Statistics from an even sample of ``rows``, default all spots, upright."""
        among = np.arange(self._start[-1]) if rows is None else rows
        chosen = among[np.unique(np.linspace(0, len(among) - 1, min(sample, len(among))).astype(np.int64))]
        tower.eval()
        with torch.inference_mode():
            batches = [chosen[i : i + 32] for i in range(0, len(chosen), 32)]
            parts = [tower.features(self._floats(self.fetch(batch))) for batch in batches]
        features = torch.cat(parts).float()
        tower.scale.fit(features.mean(dim=0), features.std(dim=0))

    def fetch(self, rows: I64) -> Tensor:
        """u8[b, p, p, 3 * fields], in pinned memory where the device is a GPU."""
        section = np.searchsorted(self._start, rows, side="right") - 1
        tiles = np.stack([self._tiles[s][r - self._start[s]] for s, r in zip(section, rows, strict=True)])
        tensor = torch.from_numpy(tiles)
        return tensor.pin_memory() if self._device.type == "cuda" else tensor

    def prepare(self, fetched: Tensor, views: I64, stain: F32 | None = None) -> Tensor:
        """See :class:`ImageSource`."""
        tiles = turned(self._floats(fetched), views)
        if stain is not None:
            tiles = restained(tiles, torch.from_numpy(stain).to(tiles.device))
        return tiles.contiguous(memory_format=torch.channels_last)

    def run(self, tower: ImageTower, inputs: Tensor) -> Tensor:
        """See :class:`ImageSource`."""
        return tower(inputs)  # type: ignore[no-any-return]

    def _floats(self, fetched: Tensor) -> Tensor:
        tiles = fetched.to(self._device, non_blocking=True)
        return tiles.permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)
