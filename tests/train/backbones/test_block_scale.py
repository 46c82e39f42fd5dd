"""Which blocks the features of a backbone have, and whether they keep the sizes of the shipped network."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_models import MAP, TOKENS, encoder, saved

from bleep_cli.fitting.backbone import built_in_backbone, load_backbone
from bleep_train.backbones.build import build_backbone


@pytest.mark.parametrize(("name", "shipped"), [("efficientnet-lite0", True), ("resnet18", False)])
def test_only_the_runtimes_own_network_is_shipped(name: str, shipped: bool) -> None:
    assert build_backbone(name, "random", levels=(2, 3)).shipped == shipped
    assert built_in_backbone().shipped


def test_every_tensor_of_an_onnx_model_is_a_block(tmp_path: Path) -> None:
    asked = f"{saved(tmp_path, encoder(11))}:{MAP},{TOKENS}"
    found = build_backbone(f"onnx:{asked}", "imagenet")
    assert found.block_dims == load_backbone(asked).dims and len(found.block_dims) == 2
    assert not found.shipped and not load_backbone(asked).shipped
