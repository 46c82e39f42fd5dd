"""Somebody's ONNX encoder as a frozen backbone: read and run by the runtime's own code (``bleep_cli.fitting``)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bleep_cli.choices import Device
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.fitting.backbone import Backbone, load_backbone
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.backbones.protocol import BackboneError, Rgb

ONNX = "onnx:"


class OnnxNet(nn.Module):
    """An ONNX model behind the protocol of backbones. It has no weights that torch knows, so nothing of it learns,
    and its tensors' features come side by side as :func:`~bleep_cli.fitting.backbone.load_backbone` pools them.

    A checkpoint keeps the model's hash in place of weights: ``BackboneError`` where it is another one by then.
    """

    mean: Rgb = (0.0, 0.0, 0.0)  # pre-processing is inside
    std: Rgb = (1.0, 1.0, 1.0)
    stages: Sequence[nn.Module] = ()

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.model, self.dims, self.px = backbone.model, backbone.dims, backbone.px
        self.dim = sum(backbone.dims)
        self.name, self.licence = str(backbone.record.get("backbone", "")), backbone.licence
        self._encoder: OnnxEncoder | None = None

    def encoder(self, px: int, device: Device = "cpu") -> OnnxEncoder:
        """The model ready to run on tiles of ``px``. Raises ``BackboneError`` for another size than its own."""
        if px != self.px:
            raise BackboneError(f"{self.name} takes tiles of {self.px} px, not {px}: set data.tile_px={self.px}")
        return OnnxEncoder(self.model, device)

    def forward(self, x: Tensor) -> Tensor:
        """f32[b, 3, px, px] in [0, 1] → f32[b, dim], computed on the CPU."""
        self._encoder = self._encoder or self.encoder(x.shape[-1])
        tiles = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return torch.from_numpy(self._encoder.embed(tiles.cpu().numpy())).to(x.device)

    def get_extra_state(self) -> Tensor:
        """SHA-256 of the model with its pre- and post-processing, u8[32]."""
        return torch.frombuffer(bytearray(hashlib.sha256(self.model).digest()), dtype=torch.uint8)

    def set_extra_state(self, state: Tensor) -> None:
        """Refuses a checkpoint of another model."""
        if not torch.equal(state.cpu(), self.get_extra_state()):
            raise BackboneError(f"{self.name}, or the settings beside it, changed since the run was trained")


def onnx_backbone(asked: str) -> OnnxNet:
    """The backbone of ``FILE.onnx`` or ``FILE.onnx:tensor,tensor``, with the settings of ``FILE.toml`` beside it.

    Raises ``BackboneError`` for a file that is not there or cannot be used.
    """
    try:
        return OnnxNet(load_backbone(asked))
    except (ReferenceError, UsageError) as error:
        raise BackboneError(f"{ONNX}{error}") from error
