"""How blocks of a backbone's features come to weigh alike in a closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from made_models import MAP, TOKENS, encoder, saved

from bleep_cli.fitting.backbone import load_backbone
from bleep_cli.towers.levels import block_scale, width_scale
from bleep_train.backbones.build import build_backbone


def test_the_shipped_network_keeps_its_own_sizes() -> None:
    found = build_backbone("efficientnet-lite0", "random", levels=(2, 5))
    rows = np.random.default_rng(0).normal(size=(9, found.dim)).astype(np.float32) * 7
    np.testing.assert_array_equal(found.block_scale(rows), width_scale(found.block_dims))


def test_others_are_brought_to_one_variance_a_tensor_at_a_time(tmp_path: Path) -> None:
    asked = f"{saved(tmp_path, encoder(11))}:{MAP},{TOKENS}"
    found = build_backbone(f"onnx:{asked}", "imagenet")
    assert found.block_dims == load_backbone(asked).dims and len(found.block_dims) == 2
    rows = np.random.default_rng(0).normal(size=(9, found.dim)).astype(np.float32) * 1e-3
    np.testing.assert_array_equal(found.block_scale(rows), block_scale(found.block_dims, rows))
