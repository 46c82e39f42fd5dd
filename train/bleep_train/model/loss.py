"""Contrastive objectives, by name. S are expression vectors, I image vectors of one batch of b spots.

Each is ``cross-entropy(targets, S·Iᵀ/τ)`` in both directions, averaged (paper section 3.2); they differ in the
targets:

| name | vectors | targets |
| --- | --- | --- |
| ``paper`` | as they leave the LayerNorm (norm 16) | softmax((I·Iᵀ + S·Sᵀ)/2·τ), see ``paper_loss`` |
| ``paper-clip`` | as they leave the LayerNorm | the identity (Table 3's row without smoothing) |
| ``clip`` | unit | the identity |
| ``unit`` | unit | softmax((I·Iᵀ + S·Sᵀ)/2/τ_t), detached |
| ``pre`` | unit | softmax(P·Pᵀ/τ_t), P unit rows of the first principal components of expression |
| ``mixed`` | unit | ``identity`` of the identity, the rest ``pre`` |

``cca`` has no loss: both heads are fitted in closed form (``training/closed_form.py``), and nothing else learns.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.errors import UsageError
from bleep_train.config.schema import PUBLISHED, Config, LossConfig

MAX_SCALE = 100.0  # CLIP's bound on 1/τ, beyond which training is unstable


class ContrastiveLoss(nn.Module):
    """``forward(image f32[b, heads * d + fitted], expression f32[b, heads * d + fitted], pre f32[b, c]) ->
    scalar``; owns the learned τ. Every head has its own loss, and the mean of them is returned; the last
    ``fitted`` dimensions, of a head in closed form, have none. Raises ``UsageError`` for several heads under the
    published objectives, which are not of unit vectors."""

    def __init__(self, config: LossConfig, heads: int = 1, fitted: int = 0) -> None:
        super().__init__()
        if heads > 1 and config.name in PUBLISHED:
            raise UsageError(f'loss.name = "{config.name}" takes one projection head; set model.heads=1')
        self.config, self.heads, self.fitted = config, heads, fitted
        start = torch.tensor(-math.log(config.temperature))
        self.log_scale = nn.Parameter(
            start, requires_grad=config.learn_temperature and config.name not in PUBLISHED
        )

    @property
    def scale(self) -> Tensor:
        """1/τ."""
        return self.log_scale.exp().clamp(max=MAX_SCALE)

    def forward(self, image: Tensor, expression: Tensor, pre: Tensor) -> Tensor:
        if self.config.name == "paper":
            return paper_loss(image, expression, self.config.temperature)
        if self.config.name == "paper-clip":
            return clip_loss(image, expression, self.config.temperature)
        image, expression = (side[:, : side.shape[1] - self.fitted] for side in (image, expression))
        pairs = zip(image.chunk(self.heads, dim=1), expression.chunk(self.heads, dim=1), strict=True)
        return torch.stack([self._one(part, spots, pre) for part, spots in pairs]).mean()

    def _one(self, image: Tensor, expression: Tensor, pre: Tensor) -> Tensor:
        image, expression = F.normalize(image, dim=1), F.normalize(expression, dim=1)
        with torch.no_grad():
            targets = self._targets(image, expression, pre)
        logits = self.scale * expression @ image.T
        return (soft_cross_entropy(logits, targets) + soft_cross_entropy(logits.T, targets)) / 2

    def _targets(self, image: Tensor, expression: Tensor, pre: Tensor) -> Tensor:
        """f32[b, b], rows sum to 1. All are symmetric before the softmax, so one serves both directions."""
        name, tau = self.config.name, self.config.target_temperature
        identity = torch.eye(len(image), device=image.device)
        if name == "clip":
            return identity
        if name == "unit":
            return ((image @ image.T + expression @ expression.T) / 2 / tau).softmax(dim=1)
        soft = (pre @ pre.T / tau).softmax(dim=1)
        if name == "pre":
            return soft
        return self.config.identity * identity + (1 - self.config.identity) * soft


def objective_of(config: Config) -> ContrastiveLoss:
    """The objective of a run."""
    fitted = config.model.components if config.model.closed_form else 0
    return ContrastiveLoss(config.loss, config.model.heads, fitted)


def paper_loss(image: Tensor, expression: Tensor, temperature: float) -> Tensor:
    """The published loss: logits over τ, targets times τ, gradients through the targets, and
    their transpose for the second direction. The published τ is 1, where the two uses of τ agree."""
    logits = expression @ image.T / temperature
    targets = ((image @ image.T + expression @ expression.T) / 2 * temperature).softmax(dim=1)
    rows = (-targets * logits.log_softmax(dim=1)).sum(dim=1)
    columns = (-targets.T * logits.T.log_softmax(dim=1)).sum(dim=1)
    return ((rows + columns) / 2).mean()


def clip_loss(image: Tensor, expression: Tensor, temperature: float) -> Tensor:
    """The published loss with identity targets: each vector is to be told from the others of the batch by its
    partner alone. The vectors are not scaled to length 1, as in :func:`paper_loss`."""
    logits = expression @ image.T / temperature
    partner = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, partner) + F.cross_entropy(logits.T, partner)) / 2


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over rows of -Σ targets · log softmax(logits)."""
    return (-targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
