"""What the trained part of ST-Net is given of spots: their tiles, or what the frozen stages made of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import I64, U8
from bleep_train.backbones.build import Normalised
from bleep_train.data.tile_cache import cache_tag, kept_array
from bleep_train.methods.folds import CohortFold, Part
from bleep_train.training.augment import turned
from bleep_train.training.frozen import weights_hash

F16 = NDArray[np.float16]
RGB = 3
STEP = 32  # tiles at a time outside training


class SpotInputs(Protocol):
    """What the trained part of the network is given of spots ``rows`` i64[b] in ``views`` i64[b] of 0..7."""

    def __call__(self, rows: I64, views: I64) -> Tensor: ...


class TileInputs:
    """Tiles ``u8[n, p, p, 3 * fields]`` of several sections → their first field f32[b, 3, px, px] in [0, 1]."""

    def __init__(self, tiles: Sequence[U8], px: int, device: torch.device) -> None:
        self._tiles, self._px, self._device = list(tiles), px, device
        self._start = np.cumsum([0, *(len(t) for t in tiles)])

    def __call__(self, rows: I64, views: I64) -> Tensor:
        places = zip(*_places(self._start, rows), strict=True)
        tiles = np.stack([self._tiles[section][row, ..., :RGB] for section, row in places])
        pixels = torch.from_numpy(tiles).to(self._device).permute(0, 3, 1, 2).float() / 255
        if pixels.shape[-1] != self._px:
            pixels = F.interpolate(pixels, (self._px, self._px), mode="area")
        return turned(pixels, views).contiguous(memory_format=torch.channels_last)


class MapInputs:
    """Kept maps ``f16[n, 8, c, h, w]`` of several sections → f32[b, c, h, w]."""

    def __init__(self, maps: Sequence[F16], device: torch.device) -> None:
        self._maps, self._device = list(maps), device
        self._start = np.cumsum([0, *(len(m) for m in maps)])

    def __call__(self, rows: I64, views: I64) -> Tensor:
        places = zip(*_places(self._start, rows), views, strict=True)
        found = np.stack([self._maps[section][row, view] for section, row, view in places])
        maps = torch.from_numpy(found).to(self._device).float()
        return maps.contiguous(memory_format=torch.channels_last)


def _places(start: I64, rows: I64) -> tuple[I64, I64]:
    """Section and row in it of spots numbered over all sections; ``start`` i64[sections + 1]."""
    section = np.searchsorted(start, rows, side="right") - 1
    return section, rows - start[section]


class EarlyStages(nn.Module):
    """EfficientNet-Lite0 before stage ``end``: f32[b, 3, h, w] in [0, 1] → maps f32[b, c, h', w']."""

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Normalised, end: int) -> None:
        super().__init__()
        self.register_buffer("mean", backbone.mean)
        self.register_buffer("std", backbone.std)
        self.stem, *body = backbone.stages[:end]
        self.body = nn.ModuleList(body)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.stem.children()
        x = F.relu6(norm(conv((x - self.mean) / self.std)))
        return through(self.body, x)


def through(stages: nn.ModuleList, x: Tensor) -> Tensor:
    for stage in stages:
        for block in stage.children():
            x = block(x)
    return x


def kept_maps(
    data: CohortFold, which: Part, backbone: Normalised, first_trained: int, px: int, device: torch.device
) -> MapInputs:
    """What the frozen stages make of every tile in eight views, from the study's cache or put into it."""
    early = EarlyStages(backbone, first_trained).eval()
    mark = f"{weights_hash(early)}-{first_trained}-{px}"
    maps: list[F16] = []
    for section, tiles in zip(data.sections(which), data.tiles(which), strict=True):
        file = data.study.cache / f"early-{mark}-{cache_tag(section, data.study.config.data.tile)}.npy"
        inputs = TileInputs([tiles], px, device)
        maps.append(kept_array(file, partial(_maps, early, inputs, len(tiles))))
    return MapInputs(maps, device)


def _maps(early: EarlyStages, inputs: TileInputs, n: int) -> F16:
    """f16[n, 8, c, h, w]"""
    parts = []
    with torch.inference_mode():
        for rows in in_steps(n):
            views = [early(inputs(rows, np.full(len(rows), v))) for v in range(ALL_VIEWS)]
            parts.append(torch.stack(views, dim=1).half().cpu().numpy())
    return np.concatenate(parts)


def in_steps(n: int) -> list[I64]:
    """Rows 0..n-1, about ``STEP`` at a time."""
    return list(np.array_split(np.arange(n, dtype=np.int64), max(1, -(-n // STEP))))
