"""A toy cohort and small towers for tests of training: features and expression that share four hidden numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bleep_cli.types import F32, U8
from bleep_train.config.schema import Config
from bleep_train.model.towers import ExpressionTower, ImageTower, Towers
from bleep_train.training.checkpoint import METRICS

CPU = torch.device("cpu")
PANEL, FEATURES = 30, 12


class NoBackbone(nn.Module):
    """Stands where a backbone would; its features come from the cache."""

    dim = FEATURES
    block_dims = (4, FEATURES - 4)
    shipped = True  # its blocks keep their sizes

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.requires_grad_(False)


class TileBackbone(nn.Module):
    """A convolution over tiles of [0, 1]; with a batch norm where asked for."""

    dim = 6

    def __init__(self, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, self.dim, 4, stride=4)
        self.norm = nn.BatchNorm2d(self.dim) if norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.norm(self.conv(x)).relu().mean(dim=(2, 3)))


def toy_data(n: int, seed: int = 0, noise: float = 0.1) -> tuple[F32, F32]:
    """Features f32[n, 8, d] and expression f32[n, p] of spots whose four hidden coordinates drive both."""
    rng = np.random.default_rng(seed)
    hidden, mix, genes = rng.normal(size=(n, 4)), rng.normal(size=(4, FEATURES)), rng.normal(size=(4, PANEL))
    features = np.tanh(hidden @ mix)[:, None] + noise * rng.normal(size=(n, 8, FEATURES))
    panel = np.logaddexp(0, hidden @ genes) + noise * rng.random((n, PANEL))
    return features.astype(np.float32), panel.astype(np.float32)


def toy_tiles(n: int, seed: int = 0) -> U8:
    """u8[n, 16, 16, 3]: noise around a colour that three of the hidden coordinates of :func:`toy_data` decide."""
    rng = np.random.default_rng(seed)
    colour = 128 + 50 * np.tanh(rng.normal(size=(n, 4)))[:, None, None, :3]
    return (colour + rng.integers(-40, 40, (n, 16, 16, 3))).astype(np.uint8)


def head_towers(config: Config, seed: int = 0) -> Towers:
    """Towers on cached features."""
    return _towers(NoBackbone(), config, seed)


def tile_towers(config: Config, seed: int = 0, norm: bool = False) -> Towers:
    """Towers on tiles, the backbone learning."""
    torch.manual_seed(seed)
    return _towers(TileBackbone(norm), config, seed)


def _towers(backbone: Any, config: Config, seed: int) -> Towers:
    torch.manual_seed(seed)
    return Towers(ImageTower(backbone, 1, config.model), ExpressionTower(PANEL, config.model))


def metrics(folder: Path) -> list[dict[str, float]]:
    """The lines of ``metrics.jsonl``."""
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def same(a: Towers, b: Towers) -> bool:
    """Whether two pairs of towers have the same weights, bit by bit."""
    mine, other = a.modules().state_dict(), b.modules().state_dict()
    return set(mine) == set(other) and all(torch.equal(mine[key], other[key]) for key in mine)
