"""What an image backbone is, whoever wrote it: four attributes, and tiles in, feature vectors out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from bleep_cli.errors import UsageError

Rgb = tuple[float, float, float]
STAGES = 5  # stem and four stages, as in a ResNet: what a long row of blocks is divided into


class BackboneError(UsageError, ValueError):
    """A backbone that cannot be had, or that does not fit its weights, its tiles or the protocol."""


@runtime_checkable
class Backbone(Protocol):
    """``forward(f32[b, 3, h, w]) -> f32[b, dim]`` of RGB scaled to [0, 1] and normalised with ``mean`` and
    ``std``; the caller normalises.

    ``stages`` are modules in order, input side first. ``trainable = "last"`` lets the last of them learn, or the
    last two where there are more than five (a last block and a head).
    """

    dim: int
    mean: Rgb
    std: Rgb

    @property
    def stages(self) -> Sequence[nn.Module]: ...

    def __call__(self, x: Tensor, /) -> Tensor: ...


@runtime_checkable
class LevelledBackbone(Backbone, Protocol):
    """A backbone that also gives the pooled output of its earlier stages.

    Level 0 is its own features, level i what the i-th stage before the last gives, ``level_dims[i]`` features;
    ``levels(x, wanted)`` returns those wanted side by side, f32[b, sum of their features]. What pictures of
    objects taught the last layers tells less of tissue than the texture seen before them (docs/results.md).
    """

    @property
    def level_dims(self) -> tuple[int, ...]: ...

    def levels(self, x: Tensor, wanted: Sequence[int]) -> Tensor: ...


class Wrapped(nn.Module, ABC):
    """Base of backbones that are another library's ``net`` without its classifier: checkpoints name the keys of
    the ``net``."""

    net: nn.Module
    dim: int
    mean: Rgb
    std: Rgb

    @property
    @abstractmethod
    def stages(self) -> list[nn.Module]:
        """The net's stages, input side first."""

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def in_stages(parts: Sequence[nn.Module], count: int) -> list[nn.Module]:
    """A row of parts in ``count`` stages of about equal length; fewer parts than that are one stage each."""
    rows = np.array_split(np.arange(len(parts)), min(count, len(parts)))
    return [nn.ModuleList([parts[i] for i in row]) for row in rows]
