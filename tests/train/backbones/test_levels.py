"""Features of earlier stages of a backbone: what they are, what is not computed, and that they export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.backbones.build import build_backbone
from bleep_train.backbones.protocol import BackboneError
from bleep_train.config.schema import ModelConfig
from bleep_train.export.graph import to_onnx
from bleep_train.model.towers import build_towers
from bleep_train.training.frozen import FeatureGraph


def sample(px: int = 64) -> torch.Tensor:
    return torch.rand(2, 3, px, px, generator=torch.Generator().manual_seed(0))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "last"), [("efficientnet-lite0", 320), ("resnet18", 256)])
def test_a_level_is_the_pooled_output_of_its_stage(name: str, last: int) -> None:
    torch.manual_seed(0)
    levelled = build_backbone(name, "random", (0, 1)).eval()
    torch.manual_seed(0)
    plain = build_backbone(name, "random").eval()
    seen: list[torch.Tensor] = []
    stage = levelled.stages[-2]  # levels include 0: the last stage is used
    part = list(stage)[-1] if isinstance(stage, torch.nn.ModuleList) else stage
    part.register_forward_hook(lambda _m, _i, out: seen.append(out.mean(dim=(2, 3))))
    with torch.inference_mode():
        features, own = levelled(sample()), plain(sample())
    assert levelled.dim == plain.dim + last
    assert (levelled.block_dims, plain.block_dims) == ((plain.dim, last), (plain.dim,))
    torch.testing.assert_close(features[:, : plain.dim], own)
    torch.testing.assert_close(features[:, plain.dim :], seen[0])
    assert float(seen[0].std(dim=0).max()) > 0


@pytest.mark.slow
def test_stages_behind_the_last_level_are_neither_run_nor_learned() -> None:
    config = ModelConfig(weights="random", levels=(1, 2), dim=8, trainable="all")
    tower = build_towers(config, fields=1, panel=5).image
    head = tower.backbone.unused
    assert [type(stage) for stage in head] == [torch.nn.ModuleList]
    tower(sample()).sum().backward()
    idle = [name for name, p in tower.backbone.named_parameters() if p.grad is None]
    assert idle
    assert all(name.startswith(("net._conv_head", "net._bn1")) for name in idle)
    assert not any(p.requires_grad for stage in head for p in stage.parameters())
    assert tower.backbone.dim == 320 + 192
    assert tower.backbone.block_dims == (320, 192)


@pytest.mark.slow
def test_levels_export_to_onnx() -> None:
    torch.manual_seed(1)
    graph = FeatureGraph(build_backbone("efficientnet-lite0", "random", (0, 3, 5))).eval()
    tiles = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    session = OnnxEncoder(to_onnx(graph, torch.zeros(2, 64, 64, 3, dtype=torch.uint8), "tiles"), "cpu")
    with torch.inference_mode():
        expected = graph(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(session.embed(tiles), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "levels", "told"),
    [
        ("efficientnet-lite0", (8,), r"has 0 to 7"),
        ("vit_b_16", (0, 1), r"its own features only: set model\.levels=\[0\]"),
    ],
)
def test_levels_that_are_not_there_are_told(name: str, levels: tuple[int, ...], told: str) -> None:
    with pytest.raises(BackboneError, match=told):
        build_backbone(name, "random", levels)
