"""ST-Net (He et al. 2020): a convolutional network pretrained on ImageNet, fine-tuned to regress log1p expression.

One tile at a time: no neighbour, no place. The output is linear and starts at the training mean. The published
settings train all of DenseNet121; where ``first_trained`` says so, the stages before it stay as they are, and what
they make of each tile in its eight views is kept in the study's cache, so that an epoch costs seconds on a CPU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, I64, Progress
from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.config.schema import OptimConfig
from bleep_train.methods.folds import PARTS, CohortFold
from bleep_train.methods.stnet_inputs import RGB, SpotInputs, TileInputs, in_steps, kept_maps, through
from bleep_train.training.batches import learning_rate
from bleep_train.training.checkpoint import METRICS
from bleep_train.training.distributed import pick_device


@dataclass(frozen=True)
class StNetOptions:
    """The published settings (paper, Methods, and the commands of the published code), but for ``genes``."""

    backbone: str = "densenet121"
    """A name of ``backbones/build.py``."""
    weights: str = "imagenet"
    """As ``build_backbone`` takes them."""
    px: int = 224
    """Edge of the tile, the first field of view."""
    genes: int | None = None
    """How many are predicted, those of largest training mean; None: all. Published: 250."""
    optimiser: Literal["sgd", "adamw"] = "sgd"
    """SGD on the error summed over the spots of a batch, as the published rate is meant, or AdamW on its mean,
    annealed."""
    lr: float = 1e-6
    """Largest learning rate."""
    momentum: float = 0.9
    """Of "sgd"."""
    weight_decay: float = 0.0
    """Of the optimiser."""
    batch_size: int = 32
    """Spots a step."""
    epochs: int = 50
    """Passes over the training spots."""
    own_colours: bool = True
    """Normalises tiles by the mean and deviation of the training tiles, not by ImageNet's."""
    first_trained: int = 0
    """Stages of the backbone before this one are frozen."""
    dropout: float = 0.0
    """Of the pooled features."""

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


class LateStages(nn.Module):
    """EfficientNet-Lite0 from stage ``start`` on: maps → pooled features f32[b, 1280]."""

    def __init__(self, backbone: Normalised, start: int) -> None:
        super().__init__()
        *body, self.top = backbone.stages[start:]
        self.body = nn.ModuleList(body)

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self.top.children()
        return F.relu6(norm(conv(through(self.body, x)))).mean(dim=(2, 3))


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
        train, test = (
            kept_maps(data, which, backbone, options.first_trained, options.px, device) for which in PARTS
        )
        features = LateStages(backbone, options.first_trained)
    else:
        train, test = (TileInputs(data.tiles(which), options.px, device) for which in PARTS)
        if options.own_colours:
            _set_colours(backbone, train, len(target))
    model = StNet(features, backbone.dim, target.mean(dim=0), options.dropout).to(device)
    _fit(model, train, target, seed, work, options, data.study.progress)
    spots = sum(len(s.barcodes) for s in data.sections("test"))
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
    for rows in in_steps(n):
        pixels = train(rows, np.zeros(len(rows), np.int64)).double()
        total += pixels.mean(dim=(0, 2, 3)).cpu().numpy() * len(rows) / n
        square += pixels.square().mean(dim=(0, 2, 3)).cpu().numpy() * len(rows) / n
    deviation = np.sqrt(np.maximum(square - total**2, 1e-6))
    backbone.mean.copy_(torch.from_numpy(total).view(1, RGB, 1, 1))
    backbone.std.copy_(torch.from_numpy(deviation).view(1, RGB, 1, 1))


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
            for rows in in_steps(n)
        ]
    return torch.cat(parts).cpu().numpy()
