"""ST-Net (He et al. 2020): a convolutional network pretrained on ImageNet, fine-tuned to regress log1p expression.

One tile at a time: no neighbour, no place. The output is linear and starts at the training mean. The published
settings train all of DenseNet121; where ``first_trained`` says so, the stages before it stay as they are, and what
they make of each tile in its eight views is kept in the study's cache, so that an epoch costs seconds on a CPU.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, I64, U8, Progress
from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.config.schema import OptimConfig
from bleep_train.data.tile_cache import cache_tag, kept_array
from bleep_train.methods.folds import PARTS, CohortFold, Part
from bleep_train.training.augment import turned
from bleep_train.training.batches import learning_rate
from bleep_train.training.checkpoint import METRICS
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import weights_hash

F16 = NDArray[np.float16]
RGB = 3
STEP = 32  # tiles at a time outside training


@dataclass(frozen=True)
class StNetOptions:
    """The published settings (paper, Methods, and the commands of the published code).

    ``px`` edge of the tile, the first field of view; ``genes`` how many are predicted, those of largest training
    mean (None: all); ``optimiser`` "sgd" with ``momentum`` on the error summed over the spots of a batch, as the
    published rate is meant, or "adamw" on its mean, annealed; ``own_colours`` normalises tiles by the mean and
    deviation of the training tiles, not by ImageNet's. Stages of the backbone before ``first_trained`` are frozen;
    ``dropout`` of the pooled features.
    """

    backbone: str = "densenet121"
    weights: str = "imagenet"
    px: int = 224
    genes: int | None = 250
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-6
    momentum: float = 0.9
    weight_decay: float = 0.0
    batch_size: int = 32
    epochs: int = 50
    own_colours: bool = True
    first_trained: int = 0
    dropout: float = 0.0

    @classmethod
    def cpu(cls) -> StNetOptions:
        """The last stages of EfficientNet-Lite0, all genes; docs/baselines.md tells how it was chosen."""
        return cls(
            backbone="efficientnet-lite0",
            px=128,
            genes=None,
            optimiser="adamw",
            lr=5e-4,
            weight_decay=1e-2,
            epochs=8,
            own_colours=False,
            first_trained=6,
            dropout=0.5,
        )


class StNet(nn.Module):
    """``features`` f32[b, ...] → f32[b, dim], and a linear head whose first prediction is ``mean`` f32[g]."""

    def __init__(self, features: nn.Module, dim: int, mean: Tensor, dropout: float) -> None:
        super().__init__()
        self.features = features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(dim, len(mean))
        nn.init.zeros_(self.head.weight)
        self.head.bias.data.copy_(mean)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))  # type: ignore[no-any-return]


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
        return _through(self.body, x)


class LateStages(nn.Module):
    """EfficientNet-Lite0 from stage ``start`` on: maps → pooled features f32[b, 1280]."""

    def __init__(self, backbone: Normalised, start: int) -> None:
        super().__init__()
        *body, self.top = backbone.stages[start:]
        self.body = nn.ModuleList(body)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.top.children()
        return F.relu6(norm(conv(_through(self.body, x)))).mean(dim=(2, 3))


def _through(stages: nn.ModuleList, x: Tensor) -> Tensor:
    for stage in stages:
        for block in stage.children():
            x = block(x)
    return x


def predict_stnet(data: CohortFold, seed: int, work: Path, options: StNetOptions) -> F32:
    """Trains on the fold's training spots and predicts its held-out ones: f32[m, g] log1p, NaN for other genes.

    Predictions are means over the eight views. Writes a line per epoch into ``work/metrics.jsonl``.
    Raises ``BackboneError`` where the backbone or its weights cannot be had.
    """
    device = pick_device()
    torch.manual_seed(seed)
    chosen = largest_means(data.train_y, options.genes)
    target = torch.from_numpy(data.train_y[:, chosen]).to(device)
    backbone = build_backbone(options.backbone, options.weights).to(device).to(memory_format=torch.channels_last)
    features: nn.Module = backbone
    train: SpotInputs
    test: SpotInputs
    if options.first_trained:
        train, test = (_kept_maps(data, which, backbone, options, device) for which in PARTS)
        features = LateStages(backbone, options.first_trained)
    else:
        train, test = (TileInputs(data.tiles(which), options.px, device) for which in PARTS)
        if options.own_colours:
            _set_colours(backbone, train, len(target))
    model = StNet(features, backbone.dim, target.mean(dim=0), options.dropout).to(device)
    _fit(model, train, target, seed, work, options, data.study.progress)
    spots = len(data.test_y)
    out = np.full((spots, len(data.symbols)), np.nan, np.float32)
    out[:, chosen] = _predict(model, test, spots)
    return out


def largest_means(expression: F32, genes: int | None) -> I64:
    """Columns of the ``genes`` largest means of f32[n, g], ascending; ties go to the first; None means all."""
    order = np.argsort(-expression.mean(axis=0, dtype=np.float64), kind="stable")
    return np.sort(order[:genes])


def _set_colours(backbone: Normalised, train: SpotInputs, n: int) -> None:
    """Input normalisation by the mean and deviation of the training tiles, per channel."""
    total, square = np.zeros(RGB), np.zeros(RGB)
    for rows in _batches(n):
        pixels = train(rows, np.zeros(len(rows), np.int64)).double()
        total += pixels.mean(dim=(0, 2, 3)).cpu().numpy() * len(rows) / n
        square += pixels.square().mean(dim=(0, 2, 3)).cpu().numpy() * len(rows) / n
    deviation = np.sqrt(np.maximum(square - total**2, 1e-6))
    backbone.mean.copy_(torch.from_numpy(total).view(1, RGB, 1, 1))
    backbone.std.copy_(torch.from_numpy(deviation).view(1, RGB, 1, 1))


def _kept_maps(
    data: CohortFold, which: Part, backbone: Normalised, options: StNetOptions, device: torch.device
) -> MapInputs:
    """What the frozen stages make of every tile in eight views, from the study's cache or put into it."""
    early = EarlyStages(backbone, options.first_trained).eval()
    mark = f"{weights_hash(early)}-{options.first_trained}-{options.px}"
    maps: list[F16] = []
    for section, tiles in zip(data.sections(which), data.tiles(which), strict=True):
        file = data.study.cache / f"early-{mark}-{cache_tag(section, data.study.config.data.tile)}.npy"
        inputs = TileInputs([tiles], options.px, device)
        maps.append(kept_array(file, partial(_maps, early, inputs, len(tiles))))
    return MapInputs(maps, device)


def _maps(early: EarlyStages, inputs: TileInputs, n: int) -> F16:
    """f16[n, 8, c, h, w]"""
    parts = []
    with torch.inference_mode():
        for rows in _batches(n):
            views = [early(inputs(rows, np.full(len(rows), v))) for v in range(ALL_VIEWS)]
            parts.append(torch.stack(views, dim=1).half().cpu().numpy())
    return np.concatenate(parts)


def _fit(
    model: StNet,
    train: SpotInputs,
    target: Tensor,
    seed: int,
    work: Path,
    options: StNetOptions,
    progress: Progress,
) -> None:
    """Stochastic gradient descent on the squared error, every spot once an epoch, in a random view."""
    n = len(target)
    step, batches = 0, -(-n // options.batch_size)
    sgd = options.optimiser == "sgd"
    optimiser: torch.optim.Optimizer
    if sgd:
        optimiser = torch.optim.SGD(
            model.parameters(), options.lr, momentum=options.momentum, weight_decay=options.weight_decay
        )
    else:
        optimiser = torch.optim.AdamW(model.parameters(), options.lr, weight_decay=options.weight_decay)
    rate = OptimConfig(lr=options.lr, schedule="constant" if sgd else "one-cycle")
    work.mkdir(parents=True, exist_ok=True)
    model.train()
    with (work / METRICS).open("w", encoding="utf-8") as metrics:
        for epoch in range(options.epochs):
            progress("epochs", epoch, options.epochs)
            rng = np.random.default_rng([seed, epoch])
            order, views, total = rng.permutation(n).astype(np.int64), rng.integers(0, ALL_VIEWS, n), 0.0
            for rows in np.array_split(order, batches):
                optimiser.param_groups[0]["lr"] = learning_rate(rate, step, options.epochs * batches)
                error = F.mse_loss(model(train(rows, views[rows])), target[torch.from_numpy(rows)])
                optimiser.zero_grad(set_to_none=True)
                (error * len(rows) if sgd else error).backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
                total += float(error.detach()) * len(rows)
            metrics.write(json.dumps({"epoch": epoch, "loss": total / n}) + "\n")


def _predict(model: StNet, inputs: SpotInputs, n: int) -> F32:
    model.eval()
    with torch.inference_mode():
        parts = [
            torch.stack([model(inputs(rows, np.full(len(rows), v))) for v in range(ALL_VIEWS)]).mean(dim=0)
            for rows in _batches(n)
        ]
    return torch.cat(parts).cpu().numpy()


def _batches(n: int) -> list[I64]:
    return list(np.array_split(np.arange(n, dtype=np.int64), max(1, -(-n // STEP))))
