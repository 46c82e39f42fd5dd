"""A trained run → both towers as ONNX → the reference bundle, packed by the runtime's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, unit
from bleep_cli.types import F32, U8, Str
from bleep_train.backbones.onnx import OnnxNet
from bleep_train.config.schema import Config
from bleep_train.export.graph import ExportError, to_onnx
from bleep_train.export.onnx_backbone import joined_tower
from bleep_train.model.towers import ExpressionTower, ImageTower, Towers

MAX_DELTA = 1e-3  # between torch and ONNX Runtime, on unit vectors


class ImageGraph(nn.Module):
    """What is exported: u8 NHWC tiles → unit vectors, all scaling inside."""

    def __init__(self, tower: ImageTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, tiles: Tensor) -> Tensor:
        return F.normalize(self.tower(tiles.permute(0, 3, 1, 2).to(torch.float32) / 255), dim=1)


class ExpressionGraph(nn.Module):
    """What is exported: log1p on the panel → unit vectors."""

    def __init__(self, tower: ExpressionTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, expression: Tensor) -> Tensor:
        return F.normalize(self.tower(expression), dim=1)


@dataclass(frozen=True)
class Parity:
    """Agreement of torch and ONNX Runtime."""

    image_delta: float
    """Largest |Δ| of the image tower's unit vectors."""
    expression_delta: float
    """The same of the expression tower's."""
    neighbours: float
    """Share of the K neighbours that agree."""


def export_towers(towers: Towers, config: Config, panel_keys: Str, *, half_weights: bool = False) -> Encoders:
    """Both towers with what the runtime must know of them."""
    px, channels = config.data.tile_px, 3 * len(config.data.tile_um)
    tiles = torch.zeros(2, px, px, channels, dtype=torch.uint8)
    info = {**asdict(config.reference), "training": config.as_dict()}
    net = getattr(towers.image.backbone, "net", None)
    if isinstance(net, OnnxNet):
        image = joined_tower(towers.image, net, half_weights=half_weights)
        info["licence"] = config.reference.licence or net.licence
    else:
        image = to_onnx(ImageGraph(towers.image), tiles, "tiles", half_weights=half_weights)
    return Encoders(
        image=image,
        expression=to_onnx(
            ExpressionGraph(towers.expression),
            torch.zeros(2, len(panel_keys)),
            "expression",
            half_weights=half_weights,
        ),
        tile=config.data.tile,
        panel=tuple(map(str, panel_keys)),
        target_sum=config.data.target_sum,
        info=info,
    )


def check_parity(
    towers: Towers, encoders: Encoders, tiles: U8, panel: F32, k: int, *, tolerance: float = MAX_DELTA
) -> Parity:
    """Runs both towers in torch and in ONNX Runtime on real tiles u8[b, p, p, c] and spots f32[n, p].

    Raises ``ExportError`` when they differ by more than ``tolerance``.
    """
    with torch.inference_mode():
        image = _in_torch(ImageGraph(towers.image), torch.from_numpy(tiles), batch=8)
        spots = _in_torch(ExpressionGraph(towers.expression), torch.from_numpy(panel), batch=4096)
    image_onnx = OnnxEncoder(encoders.image, "cpu").embed(tiles)
    spots_onnx = unit(OnnxExpressionEncoder(encoders.expression).embed(panel))
    image_delta, expression_delta = (
        float(np.abs(a - b).max()) for a, b in ((image, image_onnx), (spots, spots_onnx))
    )
    if not (image_delta <= tolerance and expression_delta <= tolerance):  # NaN is not
        raise ExportError(
            f"the exported towers differ from the trained ones: |Δ| {image_delta:.1e} (image), "
            f"{expression_delta:.1e} (expression), allowed is {tolerance:.0e}"
        )
    near = [ExactIndex(s).search(q, k).index for q, s in ((image, spots), (image_onnx, spots_onnx))]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(*near, strict=True)]
    return Parity(image_delta, expression_delta, float(np.mean(shared)) / near[0].shape[1])


def _in_torch(graph: nn.Module, inputs: Tensor, batch: int) -> F32:
    graph = graph.cpu().eval()
    return torch.cat([graph(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]).numpy()


def parity_sample(tiles: Sequence[U8], count: int) -> U8:
    """An even sample of cached tiles, u8[<= count, p, p, c]."""
    total = sum(len(t) for t in tiles)
    rows = np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
    start, out = 0, []
    for part in tiles:
        out += [np.asarray(part[r - start]) for r in rows if start <= r < start + len(part)]
        start += len(part)
    return np.stack(out)
