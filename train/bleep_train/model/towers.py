"""The two towers (paper section 3.2): backbone + projection head for tiles, projection head for expression."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.backbones.protocol import BackboneError
from bleep_train.config.schema import ModelConfig

START_STD = 5e-3  # of a linear head's weights where learning begins: ten times the preset's learning rate


class ProjectionHead(nn.Module):
    """Linear → GELU → Linear → dropout, plus the first Linear's output, → LayerNorm. f32[b, d] → f32[b, dim]."""

    def __init__(self, d_in: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.projection = nn.Linear(d_in, dim)
        self.fc = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        projected = self.projection(x)
        return self.norm(projected + self.dropout(self.fc(F.gelu(projected))))  # type: ignore[no-any-return]


class ClosedFormHead(nn.Module):
    """A linear head that is fitted (``training/closed_form.py``): f32[b, d] → f32[b, components]. It stays as it
    is, or ``learns`` from there on. A student's is never fitted, and learns whole."""

    def __init__(self, d_in: int, components: int, *, learns: bool = False) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(d_in), requires_grad=False)
        self.weights = nn.Parameter(torch.randn(d_in, components) / math.sqrt(d_in), requires_grad=learns)

    def fit(self, mean: Tensor, weights: Tensor) -> None:
        """Takes f32[d] and f32[d, c], c at most its components; the others become 0. Vectors have no length, so
        where it learns, weights are brought to a size that goes with the usual learning rates."""
        if self.weights.requires_grad:
            weights = weights * (START_STD / weights.std().clamp(min=1e-12))
        self.mean.data.copy_(mean)
        self.weights.data.zero_()[:, : weights.shape[1]] = weights

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.weights


class Ensemble(nn.Module):
    """Several heads on the same input: those that learn, each on its own loss (``loss.py``), and then, where asked
    for, one in closed form.

    f32[b, d] → f32[b, sum of their dimensions]: unit vectors side by side, so that the cosine of two embeddings is
    the mean of the heads' cosines. The head in closed form weighs as much as all others together.
    """

    def __init__(self, d_in: int, config: ModelConfig) -> None:
        super().__init__()
        self.heads = nn.ModuleList(_learner(d_in, config) for _ in range(config.heads))
        self.closed = ClosedFormHead(d_in, config.components) if config.closed_form else None
        self.weight = math.sqrt(max(1, config.heads))

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.normalize(head(x), dim=1) for head in self.heads]
        if self.closed is not None:
            parts.append(self.weight * F.normalize(self.closed(x), dim=1))
        return torch.cat(parts, dim=1)


def build_head(d_in: int, config: ModelConfig) -> nn.Module:
    """The published projection head, or an ensemble where several are asked for, or one in closed form."""
    if config.heads != 1 or config.closed_form:
        return Ensemble(d_in, config)
    return _learner(d_in, config)


def _learner(d_in: int, config: ModelConfig) -> nn.Module:
    """A head that learns."""
    if config.start == "cca":
        return ClosedFormHead(d_in, config.components, learns=True)
    return ProjectionHead(d_in, config.dim, config.dropout)


class Standardise(nn.Module):
    """``(x - mean) / std`` with training statistics; the identity until :meth:`fit`."""

    mean: Tensor
    std: Tensor

    def __init__(self, d: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("std", torch.ones(d))

    def fit(self, mean: Tensor, std: Tensor) -> None:
        """Takes the statistics; a constant input keeps its scale."""
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 1e-6, std, torch.ones_like(std)))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


class ImageTower(nn.Module):
    """Tiles of one or more fields of view → vectors; the fields' features are concatenated."""

    def __init__(self, backbone: Normalised, fields: int, config: ModelConfig) -> None:
        super().__init__()
        self.backbone, self.fields = backbone, fields
        self.scale = Standardise(backbone.dim * fields)
        self.head = build_head(backbone.dim * fields, config)

    def features(self, tiles: Tensor) -> Tensor:
        """f32[b, 3 * fields, p, p] in [0, 1] → f32[b, fields * d]."""
        parts = [self.backbone(part) for part in tiles.chunk(self.fields, dim=1)]
        return torch.cat(parts, dim=1)

    def project(self, features: Tensor) -> Tensor:
        """f32[b, fields * d] → f32[b, dim]; not normalised where there is one head."""
        return self.head(self.scale(features))  # type: ignore[no-any-return]

    def forward(self, tiles: Tensor) -> Tensor:
        return self.project(self.features(tiles))


class ExpressionTower(nn.Module):
    """log1p on the panel f32[b, p] → f32[b, dim]; not normalised where there is one head."""

    def __init__(self, panel: int, config: ModelConfig) -> None:
        super().__init__()
        self.scale = Standardise(panel)
        self.head = build_head(panel, config)

    def forward(self, expression: Tensor) -> Tensor:
        return self.head(self.scale(expression))  # type: ignore[no-any-return]


@dataclass
class Towers:
    """Both towers of a run."""

    image: ImageTower
    """Tiles → vectors."""
    expression: ExpressionTower
    """log1p on the panel → vectors."""

    def modules(self) -> nn.ModuleDict:
        """Both as one module, for saving and for the optimiser."""
        return nn.ModuleDict({"image": self.image, "expression": self.expression})


def build_towers(config: ModelConfig, fields: int, panel: int, *, pretrained: bool = True) -> Towers:
    """Fresh towers; without ``pretrained`` the backbone's weights are left to be filled from a checkpoint."""
    backbone = build_backbone(config.backbone, config.weights if pretrained else "random", config.levels)
    towers = Towers(ImageTower(backbone, fields, config), ExpressionTower(panel, config))
    freeze(towers.image, config.trainable)
    return towers


def freeze(tower: ImageTower, trainable: str) -> None:
    """Lets "all", the "last" stage or nothing ("frozen") of the backbone learn.

    Raises ``BackboneError`` for a backbone that cannot.
    """
    if trainable != "frozen" and next(tower.backbone.parameters(), None) is None:
        raise BackboneError(f'backbone {tower.backbone.name} cannot learn; set model.trainable="frozen"')
    tower.backbone.requires_grad_(trainable == "all")
    for stage in tower.backbone.unused:
        stage.requires_grad_(False)
    if trainable == "last":
        for stage in tower.backbone.stages[-2:] if len(tower.backbone.stages) > 5 else tower.backbone.stages[-1:]:
            stage.requires_grad_(True)
