"""EfficientNet-Lite0, with the names of the published checkpoint."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_train.backbones.protocol import Rgb

# EfficientNet-Lite0 (Tan & Le 2019, lite variant: ReLU6, no squeeze-excitation, fixed stem and head).
# (kernel, stride, expansion, channels out, repeats)
LITE0_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
BN_EPS = 1e-3  # the TensorFlow original's epsilon, which its weights expect
BN_MOMENTUM = 0.01


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding: the odd pixel goes to the right and bottom."""

    def forward(self, input: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads = []
        for size in (input.shape[-1], input.shape[-2]):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return F.conv2d(F.pad(input, pads), self.weight, None, self.stride, 0, self.dilation, self.groups)


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1) -> SameConv2d:
    return SameConv2d(c_in, c_out, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BN_EPS, momentum=BN_MOMENTUM)


class MBConvLite(nn.Module):
    """Inverted residual block without squeeze-excitation; names follow the published checkpoint."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = c_in * expansion
        self._expand_conv = _conv(c_in, hidden, 1) if expansion > 1 else None
        self._bn0 = _norm(hidden) if expansion > 1 else None
        self._depthwise_conv = _conv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = _norm(hidden)
        self._project_conv = _conv(hidden, c_out, 1)
        self._bn2 = _norm(c_out)
        self.residual = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x
        if self._expand_conv is not None and self._bn0 is not None:
            y = F.relu6(self._bn0(self._expand_conv(y)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 up to its pooled 1280 features; 4.0 M parameters, 0.4 GFLOP at 224 px."""

    dim = 1280
    mean: Rgb = (0.5, 0.5, 0.5)  # the TensorFlow original scales to [-1, 1]
    std: Rgb = (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, 32, 3, 2)
        self._bn0 = _norm(32)
        blocks, c_in, self._stage_ends = [], 32, []
        for kernel, stride, expansion, c_out, repeats in LITE0_STAGES:
            for i in range(repeats):
                blocks.append(MBConvLite(c_in, c_out, kernel, stride if i == 0 else 1, expansion))
                c_in = c_out
            self._stage_ends.append(len(blocks))
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = _conv(320, self.dim, 1)
        self._bn1 = _norm(self.dim)

    @property
    def stages(self) -> list[nn.Module]:
        """Stem, the seven block stages, head."""
        starts = [0, *self._stage_ends[:-1]]
        body = [nn.ModuleList(self._blocks[a:b]) for a, b in zip(starts, self._stage_ends, strict=True)]
        stem, head = nn.ModuleList([self._conv_stem, self._bn0]), nn.ModuleList([self._conv_head, self._bn1])
        return [stem, *body, head]

    @property
    def level_dims(self) -> tuple[int, ...]:
        """Features of each level: the head's, then the block stages', last stage first."""
        return (self.dim, *(stage[3] for stage in reversed(LITE0_STAGES)))

    def levels(self, x: Tensor, wanted: Sequence[int]) -> Tensor:
        """See ``LevelledBackbone``; what lies behind the last wanted level is not computed."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        stages = len(self._stage_ends)
        pooled: dict[int, Tensor] = {}
        for i, block in enumerate(self._blocks[: self._stage_ends[stages - max(1, min(wanted))]], start=1):
            x = block(x)
            if i in self._stage_ends:
                pooled[stages - self._stage_ends.index(i)] = x.mean(dim=(2, 3))
        if 0 in wanted:
            pooled[0] = F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3))
        return torch.cat([pooled[level] for level in wanted], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.levels(x, (0,))
