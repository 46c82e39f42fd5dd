"""What benchmarks/machine_limit.py counts and cuts: FLOPs by hand, and a tower without its pre-processing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from bleep_train.config.schema import ModelConfig
from bleep_train.export.graph import to_onnx
from bleep_train.export.precisions import int8_tower
from bleep_train.export.towers import ImageGraph
from bleep_train.model.towers import build_towers

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
PX = 64


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import flops
    import machine_limit

    return flops, machine_limit


def resnet(fields: int) -> Any:
    torch.manual_seed(0)
    config = ModelConfig(backbone="resnet18", weights="random", dim=16)
    return build_towers(config, fields, 10).image.eval()


def exported(image: Any, channels: int) -> bytes:
    return to_onnx(ImageGraph(image), torch.zeros(2, PX, PX, channels, dtype=torch.uint8), "tiles")


def run(model: bytes, given: Any) -> Any:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: given})[0]


def test_flops_are_those_counted_by_hand(benchmarks: Any) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 4 × 8 × 8 outputs, each of 27 products
        nn.ReLU(),
        nn.Conv2d(4, 4, 2, stride=2, groups=4),  # 4 × 4 × 4 outputs, each of 4
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),  # 5 outputs, each of 4
    )
    model = to_onnx(net.eval(), torch.zeros(2, 3, 8, 8), "tiles")
    assert benchmarks[0].flops_per_item(model) == 2 * (4 * 64 * 27 + 4 * 16 * 4 + 5 * 4)


@pytest.mark.slow
def test_int8_counts_the_operations_of_float32(benchmarks: Any) -> None:
    model = exported(resnet(fields=1), 3)
    noise = np.random.default_rng(0).integers(0, 256, (4, PX, PX, 3), np.uint8)
    count = benchmarks[0].flops_per_item(model)
    assert benchmarks[0].flops_per_item(int8_tower(model, noise)) == count
    # of ResNet18's 1.814 G multiply-adds at 224 px all but the 0.5 M of its classifier are in convolutions
    assert count == pytest.approx(2 * 1.814e9 * (PX / 224) ** 2, rel=0.01)


@pytest.mark.slow
def test_a_tower_without_pre_processing_takes_what_its_first_convolution_took(benchmarks: Any) -> None:
    image = resnet(fields=1)
    model = exported(image, 3)
    bare = benchmarks[1].without_preprocessing(model)
    tiles = np.random.default_rng(0).integers(0, 256, (3, PX, PX, 3), np.uint8)
    mean, std = (torch.as_tensor(rgb).reshape(1, 3, 1, 1) for rgb in (image.backbone.mean, image.backbone.std))
    handed_in = (torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255 - mean) / std
    assert np.allclose(run(bare, handed_in.float().numpy()), run(model, tiles), atol=1e-5)


@pytest.mark.slow
def test_a_tower_of_two_fields_has_no_such_cut(benchmarks: Any) -> None:
    assert benchmarks[1].without_preprocessing(exported(resnet(fields=2), 6)) is None
