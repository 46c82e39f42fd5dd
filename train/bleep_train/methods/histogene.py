"""HisToGene (Pang, Su & Li 2021): a vision transformer whose tokens are all spots of a section.

A spot's tile is flattened to raw pixels and embedded linearly; learned embeddings of its place in the array, x and
y apart, are added; the spots of one section attend to each other; a linear head predicts log1p expression.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, F64, I64, U8, Progress
from bleep_train.config.schema import OptimConfig
from bleep_train.methods.folds import PARTS, CohortFold
from bleep_train.training.augment import turned
from bleep_train.training.batches import learning_rate
from bleep_train.training.checkpoint import METRICS
from bleep_train.training.distributed import pick_device

RGB = 3
NEIGHBOUR = 1.2  # pitches: nearer than the diagonal of a square grid (1.41), further than a distorted hexagon
STAGGERED = 0.7  # pitches: a step below this is the half step of a staggered grid


@dataclass(frozen=True)
class HisToGeneOptions:
    """The published settings (paper, Methods, and the tutorial of the published code); a step is one section."""

    px: int = 112
    """Edge of the tile that is embedded, shrunk to it where it is larger."""
    crop: float = 0.5
    """Middle part of the first field that the tile is (112 of 224 px)."""
    positions: int = 64
    """Places per axis."""
    dim: int = 1024
    """Length of a token."""
    layers: int = 8
    """Of the transformer."""
    heads: int = 16
    """Of its attention."""
    mlp_ratio: int = 2
    """Width of its hidden layers over ``dim``."""
    dropout: float = 0.1
    """Everywhere in it."""
    lr: float = 1e-5
    """Of Adam."""
    weight_decay: float = 0.0
    """Of Adam."""
    epochs: int = 100
    """Passes over the training sections."""
    standardise: bool = False
    """Scales pixels to the training mean and deviation; the published code takes them as they are, 0..255."""
    place_std: float = 1.0
    """Deviation that the embeddings of places start with, against about 0.6 of a standardised tile's."""
    from_mean: bool = False
    """Starts the output at the training mean."""
    anneal: bool = False
    """Warms the rate up and lets it fall to zero."""
    views: Literal[1, 8] = 1
    """Of each tile in training (at random) and in prediction (averaged): 1 is upright only, as published."""

    @classmethod
    def cpu(cls) -> HisToGeneOptions:
        """A smaller network on smaller tiles, a minute on one core; docs/baselines.md tells how it was chosen."""
        return cls(
            px=14,
            crop=1.0,
            dim=256,
            layers=4,
            heads=8,
            lr=5e-4,
            weight_decay=1e-2,
            epochs=60,
            standardise=True,
            place_std=0.1,
            from_mean=True,
            anneal=True,
            views=8,
        )


class HisToGene(nn.Module):
    """``forward(f32[n, 3, px, px] of 0..255, i64[n, 2]) -> f32[n, genes]`` for the n spots of one section."""

    mean: Tensor
    std: Tensor

    def __init__(self, genes: int, options: HisToGeneOptions) -> None:
        super().__init__()
        dim = options.dim
        self.patch = nn.Linear(RGB * options.px**2, dim)
        self.x_place = nn.Embedding(options.positions, dim)
        self.y_place = nn.Embedding(options.positions, dim)
        for place in (self.x_place, self.y_place):
            nn.init.normal_(place.weight, std=options.place_std)
        self.dropout = nn.Dropout(options.dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(
                dim,
                options.heads,
                options.mlp_ratio * dim,
                options.dropout,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(options.layers)
        )
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, genes))
        self.register_buffer("mean", torch.zeros(1, RGB, 1, 1))
        self.register_buffer("std", torch.ones(1, RGB, 1, 1))

    def forward(self, tiles: Tensor, places: Tensor) -> Tensor:
        patches = self.patch(((tiles - self.mean) / self.std).flatten(1))
        tokens = self.dropout(patches + self.x_place(places[:, 0]) + self.y_place(places[:, 1]))[None]
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[0])  # type: ignore[no-any-return]


def array_places(xy_l0: F64, positions: int) -> I64:
    """Places in the array, i64[n, 2] (x, y) in 0..positions-1, from spot centres f64[n, 2].

    Each axis is divided by its step between neighbouring spots. On a staggered (hexagonal) grid two rows share a
    column number, as a Visium row takes every other column; spots beyond the last place share that place.
    """
    out = np.zeros(xy_l0.shape, np.int64)
    if len(xy_l0) < 2:
        return out
    steps, pitch = _neighbour_steps(xy_l0)
    for axis in (0, 1):
        step, staggered = _step(np.abs(steps[:, axis]), pitch)
        along = (xy_l0[:, axis] - xy_l0[:, axis].min()) / step
        phase = np.angle(np.exp(2j * np.pi * along).mean()) / (2 * np.pi)  # no single spot sets the origin
        place = np.rint(along - phase).astype(np.int64)
        place -= place.min()
        out[:, axis] = place // 2 if staggered else place
    return np.minimum(out, positions - 1)


def _neighbour_steps(xy_l0: F64) -> tuple[F64, float]:
    """Displacements f64[p, 2] between neighbouring spots, and the pitch: the median distance to the nearest."""
    from scipy.spatial import cKDTree

    tree = cKDTree(xy_l0)
    pitch = float(np.median(tree.query(xy_l0, k=2)[0][:, 1]))
    pairs = tree.query_pairs(NEIGHBOUR * pitch, output_type="ndarray")
    return xy_l0[pairs[:, 0]] - xy_l0[pairs[:, 1]], pitch


def _step(distances: F64, pitch: float) -> tuple[float, bool]:
    """Step of an axis from the distances of neighbours along it, and whether it is the half step of a staggered
    one. Neighbours in the same row or column are no distance apart and say nothing."""
    apart = distances[distances > 0.25 * pitch]
    half = apart < STAGGERED * pitch
    staggered = bool(half.sum() > len(apart) / 2)
    same = apart[half == staggered]
    return (float(np.median(same)) if len(same) else pitch), staggered


def predict_histogene(data: CohortFold, seed: int, work: Path, options: HisToGeneOptions) -> F32:
    """Trains on the fold's training sections and predicts its held-out spots: f32[m, g] log1p.

    Writes a line per epoch into ``work/metrics.jsonl``.
    """
    device = pick_device()
    torch.manual_seed(seed)
    train, test = ([small_tiles(t, options) for t in data.tiles(which)] for which in PARTS)
    places, test_places = (
        [torch.from_numpy(array_places(s.xy_l0, options.positions)) for s in data.sections(which)]
        for which in PARTS
    )
    ends = np.cumsum([len(t) for t in train])[:-1]
    targets = [torch.from_numpy(y) for y in np.split(data.train_y, ends)]
    model = HisToGene(len(data.symbols), options)
    if options.standardise:
        pixels = torch.cat(train).transpose(0, 1).flatten(1)
        model.mean.copy_(pixels.mean(dim=1).view(1, RGB, 1, 1))
        model.std.copy_(pixels.std(dim=1).clamp(min=1.0).view(1, RGB, 1, 1))
    if options.from_mean:
        head = model.head[1]
        assert isinstance(head, nn.Linear)
        nn.init.zeros_(head.weight)
        head.bias.data = torch.cat(targets).mean(dim=0)
    model.to(device)
    sections = [(t.to(device), p.to(device), y.to(device)) for t, p, y in zip(train, places, targets, strict=True)]
    _fit(model, sections, seed, work, options, data.study.progress)
    return _predict(model, test, test_places, options, device)


def small_tiles(tiles: U8, options: HisToGeneOptions) -> Tensor:
    """The middle of the first field, f32[n, 3, px, px] of 0..255."""
    edge = tiles.shape[1]
    kept = max(1, round(options.crop * edge))
    start = (edge - kept) // 2
    middle = np.array(tiles[:, start : start + kept, start : start + kept, :RGB])
    pixels = torch.from_numpy(middle).permute(0, 3, 1, 2).float()
    return pixels if kept == options.px else F.interpolate(pixels, (options.px, options.px), mode="area")


def _fit(
    model: HisToGene,
    sections: Sequence[tuple[Tensor, Tensor, Tensor]],
    seed: int,
    work: Path,
    options: HisToGeneOptions,
    progress: Progress,
) -> None:
    """Adam on the squared error, one section a step."""
    optimiser = torch.optim.AdamW(model.parameters(), options.lr, weight_decay=options.weight_decay)
    rate = OptimConfig(lr=options.lr, schedule="one-cycle" if options.anneal else "constant")
    step, steps = 0, options.epochs * len(sections)
    work.mkdir(parents=True, exist_ok=True)
    model.train()
    with (work / METRICS).open("w", encoding="utf-8") as metrics:
        for epoch in range(options.epochs):
            progress("epochs", epoch, options.epochs)
            rng = np.random.default_rng([seed, epoch])
            losses = []
            for i in rng.permutation(len(sections)):
                tiles, places, target = sections[i]
                optimiser.param_groups[0]["lr"] = learning_rate(rate, step, steps)
                if options.views > 1:
                    tiles = turned(tiles, rng.integers(0, ALL_VIEWS, len(tiles)))
                loss = F.mse_loss(model(tiles, places), target)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                step += 1
                losses.append(float(loss.detach()))
            metrics.write(json.dumps({"epoch": epoch, "loss": float(np.mean(losses))}) + "\n")


def _predict(
    model: HisToGene,
    test: Sequence[Tensor],
    test_places: Sequence[Tensor],
    options: HisToGeneOptions,
    device: torch.device,
) -> F32:
    model.eval()
    out = []
    with torch.inference_mode():
        for tiles, places in zip(test, test_places, strict=True):
            shown = [turned(tiles, np.full(len(tiles), v)).to(device) for v in range(options.views)]
            seen = [model(view, places.to(device)) for view in shown]
            out.append(torch.stack(seen).mean(dim=0).cpu().numpy())
    return np.concatenate(out)
