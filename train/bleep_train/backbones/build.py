"""Image backbones by name: RGB in [0, 1] → feature vectors, input normalisation included.

| name | what |
| --- | --- |
| ``efficientnet-lite0`` | 1280 features, ImageNet weights from an installed package |
| ``resnet18`` ``resnet50`` ``resnet101`` | torchvision, 512 or 2048 features |
| ``densenet121`` ``vit_b_16`` | torchvision, 1024 and 768 features; ``vit_b_16`` takes 224 px only |
| ``timm:NAME`` | a model of timm (optional extra ``timm``), or ``timm:local-dir:FOLDER`` |
| ``file:PATH.py`` | the user's own code (``local.py``) |
| ``onnx:FILE.onnx[:tensor,...]`` | the user's own ONNX model, frozen (``onnx.py``) |

``weights`` is "imagenet" (for ``timm:`` whatever timm has for the name), "random" (for ``file:`` as the file makes
it) or the path of a state dict, ``.safetensors`` or ``.pth``. An ``onnx:`` model brings its weights, and is
as it is with either word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from bleep_train.backbones.lite0 import EfficientNetLite0
from bleep_train.backbones.local import local_backbone
from bleep_train.backbones.onnx import ONNX, onnx_backbone
from bleep_train.backbones.protocol import Backbone, BackboneError, LevelledBackbone
from bleep_train.backbones.timm import TimmNet
from bleep_train.backbones.torchvision import DenseNet, ResNet, ViT
from bleep_train.backbones.weights import file_state, imagenet_state, load_state

TIMM, LOCAL = "timm:", "file:"
SHIPPED = "efficientnet-lite0"
OWN = (0,)  # the level of a backbone's own features
BACKBONES: dict[str, Callable[[], nn.Module]] = {
    SHIPPED: EfficientNetLite0,
    "resnet18": lambda: ResNet("resnet18"),
    "resnet50": lambda: ResNet("resnet50"),
    "resnet101": lambda: ResNet("resnet101"),
    "densenet121": lambda: DenseNet("densenet121"),
    "vit_b_16": lambda: ViT("vit_b_16"),
}


class Normalised(nn.Module):
    """A backbone behind its input normalisation, ``(x - mean) / std`` per channel.

    ``f32[b, 3, h, w] in [0, 1] -> f32[b, dim]``; ``BackboneError`` where the net returns anything else. With
    ``levels`` other than (0,) the features are those of the named levels (``LevelledBackbone``), side by side in
    that order; ``block_dims`` are their widths.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: Backbone, name: str = "", levels: Sequence[int] = OWN) -> None:
        super().__init__()
        self.net = net
        self.name = name or type(net).__name__
        self.levels = tuple(levels)
        own = tuple(getattr(net, "dims", (net.dim,)))  # of an ONNX model cut at several tensors, one of each
        self.block_dims = own if self.levels == OWN else tuple(_level_dims(net, self.name, self.levels))
        self.dim = sum(self.block_dims)
        self.register_buffer("mean", torch.tensor(net.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(net.std).view(1, 3, 1, 1), persistent=False)

    @property
    def shipped(self) -> bool:
        """Whether it is the network of the runtime's own backbone."""
        return self.name == SHIPPED

    @property
    def stages(self) -> Sequence[nn.Module]:
        """The net's stages that the features come from, input side first."""
        return self.net.stages[: len(self.net.stages) - min(self.levels)]

    @property
    def unused(self) -> Sequence[nn.Module]:
        """The stages behind the last wanted level."""
        return self.net.stages[len(self.net.stages) - min(self.levels) :]

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        features: object
        if self.levels != OWN and isinstance(self.net, LevelledBackbone):
            features = self.net.levels(x, self.levels)
        else:
            features = self.net(x)
        if not isinstance(features, Tensor):
            raise BackboneError(
                f"backbone {self.name} gives a {type(features).__name__}, not a tensor [b, {self.dim}]"
            )
        if features.ndim != 2 or features.shape[1] != self.dim:
            shape = ", ".join(["b", *map(str, features.shape[1:])])
            raise BackboneError(f"backbone {self.name} gives [{shape}], not [b, {self.dim}]")
        return features


def _level_dims(net: Backbone, name: str, levels: Sequence[int]) -> list[int]:
    if not isinstance(net, LevelledBackbone):
        raise BackboneError(f"backbone {name} gives its own features only: set model.levels=[0]")
    absent = [level for level in levels if level >= len(net.level_dims)]
    if absent:
        raise BackboneError(f"model.levels = {list(levels)}: backbone {name} has 0 to {len(net.level_dims) - 1}")
    return [net.level_dims[level] for level in levels]


def build_backbone(name: str, weights: str, levels: Sequence[int] = OWN) -> Normalised:
    """The named backbone with ``weights`` (see above) and features of ``levels``, in training mode, on the CPU.

    Raises ``BackboneError``, a ``ValueError``, for an unknown name, weights that cannot be had, and a state dict
    that does not fit.
    """
    net = _made(name, weights)
    if weights == "imagenet" and name in BACKBONES:
        load_state(net, imagenet_state(name))
    elif weights not in ("imagenet", "random"):
        load_state(net, file_state(Path(weights)))
    assert isinstance(net, Backbone)
    return Normalised(net, name, levels)


def _made(name: str, weights: str) -> nn.Module:
    if name in BACKBONES:
        return BACKBONES[name]()
    if name.startswith(TIMM):
        return TimmNet(name.removeprefix(TIMM), pretrained=weights == "imagenet")
    if name.startswith(LOCAL):
        if weights == "imagenet":
            raise BackboneError(
                f"{name} brings its own weights: set model.weights=random for those its backbone() gives it, "
                "or to the path of a state dict"
            )
        return local_backbone(Path(name.removeprefix(LOCAL)))
    if name.startswith(ONNX):
        if weights not in ("imagenet", "random"):
            raise BackboneError(f"{ONNX}FILE brings its own weights: leave model.weights out")
        return onnx_backbone(name.removeprefix(ONNX))
    known = ", ".join([*BACKBONES, f"{TIMM}NAME", f"{LOCAL}PATH.py", f"{ONNX}FILE.onnx"])
    raise BackboneError(f"backbone {name!r} is not one of {known}")
