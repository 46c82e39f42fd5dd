"""An image tower on somebody's ONNX encoder: the head exported from torch, then joined behind the encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.errors import ReferenceError
from bleep_cli.fitting.graphs import tower_with_head
from bleep_train.backbones.onnx import OnnxNet
from bleep_train.export.graph import ExportError, to_onnx
from bleep_train.model.towers import ImageTower


class HeadGraph(nn.Module):
    """What is exported of such a tower: its fields' features side by side → unit vectors."""

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.scale, self.head = tower.scale, tower.head

    def forward(self, features: Tensor) -> Tensor:
        return F.normalize(self.head(self.scale(features)), dim=1)


def joined_tower(tower: ImageTower, net: OnnxNet, *, half_weights: bool = False) -> bytes:
    """u8 NHWC tiles → unit vectors, as ONNX; ``half_weights`` stores the head's as float16, the encoder's stay.

    Raises ``ExportError`` for an encoder that cannot be brought to the head's opset.
    """
    features = torch.zeros(2, net.dim * tower.fields)
    head = to_onnx(HeadGraph(tower), features, "features", half_weights=half_weights)
    try:
        return tower_with_head(net.model, net.px, tower.fields, head)
    except ReferenceError as error:
        raise ExportError(str(error)) from error
