"""torchvision's networks without their classifiers: the encoders of the paper's Supplementary Table 1, and the
DenseNet121 of ST-Net."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor, nn

from bleep_train.backbones.protocol import STAGES, BackboneError, Rgb, Wrapped, in_stages

MEAN: Rgb = (0.485, 0.456, 0.406)
STD: Rgb = (0.229, 0.224, 0.225)


class ResNet(Wrapped):
    """A ResNet up to its pooled features (2048 for ResNet50)."""

    mean, std = MEAN, STD

    def __init__(self, name: str) -> None:
        super().__init__()
        net = torchvision.models.get_model(name, weights=None)
        self.dim = net.fc.in_features
        net.fc = nn.Identity()
        self.net = net

    @property
    def stages(self) -> list[nn.Module]:
        """Stem and the four residual stages."""
        stem = nn.ModuleList([self.net.get_submodule(name) for name in ("conv1", "bn1")])
        return [stem, *(self.net.get_submodule(f"layer{i}") for i in range(1, 5))]

    @property
    def level_dims(self) -> tuple[int, ...]:
        """Features of each level: those of the four residual stages, last stage first."""
        return tuple(self.dim >> i for i in range(4))

    def levels(self, x: Tensor, wanted: Sequence[int]) -> Tensor:
        """See ``LevelledBackbone``; what lies behind the last wanted level is not computed."""
        for name in ("conv1", "bn1", "relu", "maxpool"):
            x = self.net.get_submodule(name)(x)
        pooled: dict[int, Tensor] = {}
        for level in range(3, min(wanted) - 1, -1):
            x = self.net.get_submodule(f"layer{4 - level}")(x)
            pooled[level] = x.mean(dim=(2, 3))
        return torch.cat([pooled[level] for level in wanted], dim=1)


class DenseNet(Wrapped):
    """A DenseNet up to its pooled features (1024 for DenseNet121)."""

    mean, std = MEAN, STD

    def __init__(self, name: str) -> None:
        super().__init__()
        net = torchvision.models.get_model(name, weights=None)
        self.dim = net.classifier.in_features
        net.classifier = nn.Identity()
        self.net = net

    @property
    def stages(self) -> list[nn.Module]:
        """Stem, three dense blocks with the transitions behind them, the last dense block with its norm."""
        pairs = [("conv0", "norm0"), *((f"denseblock{i}", f"transition{i}") for i in range(1, 4))]
        pairs.append(("denseblock4", "norm5"))
        features = self.net.get_submodule("features")
        return [nn.ModuleList([features.get_submodule(name) for name in pair]) for pair in pairs]


class ViT(Wrapped):
    """A vision transformer up to its class token (768 for ViT-B); its positions are learned for one tile size."""

    mean, std = MEAN, STD

    def __init__(self, name: str) -> None:
        super().__init__()
        net = torchvision.models.get_model(name, weights=None)
        self.name, self.px, self.dim = name, int(net.image_size), int(net.hidden_dim)
        net.heads = nn.Identity()
        self.net = net

    @property
    def stages(self) -> list[nn.Module]:
        """Patches and positions, then the blocks in four stages; the last norm goes with the last of them."""
        net = self.net
        tokens = nn.ParameterList([net.get_parameter("class_token"), net.get_parameter("encoder.pos_embedding")])
        stem = nn.ModuleList([net.get_submodule("conv_proj"), tokens])
        *blocks, last = in_stages(list(net.get_submodule("encoder.layers").children()), STAGES - 1)
        return [stem, *blocks, nn.ModuleList([last, net.get_submodule("encoder.ln")])]

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if (height, width) != (self.px, self.px):
            raise BackboneError(
                f"{self.name} takes tiles of {self.px} px, not {width} × {height}: set data.tile_px={self.px}, "
                "or use a timm backbone, whose positions are interpolated"
            )
        return super().forward(x)
