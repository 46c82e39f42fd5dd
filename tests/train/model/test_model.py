"""The towers: the head's formula, what learns in each mode, standardisation, several fields of view."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bleep_train.backbones.build import build_backbone
from bleep_train.config.schema import ModelConfig
from bleep_train.model.towers import (
    Ensemble,
    ProjectionHead,
    Standardise,
    Towers,
    build_head,
    build_towers,
    freeze,
)
from bleep_train.training.loop import set_training

erf = np.vectorize(math.erf)


def towers(trainable: Any = "frozen", backbone: str = "efficientnet-lite0", fields: int = 1) -> Towers:
    torch.manual_seed(11)
    config = ModelConfig(backbone=backbone, weights="random", trainable=trainable, dim=8)
    return build_towers(config, fields, panel=5)


def test_projection_head_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    head = ProjectionHead(6, 4, dropout=0.5).eval()
    with torch.no_grad():
        head.norm.weight.uniform_(0.5, 2)
        head.norm.bias.normal_()
    p = {name: value.numpy().astype(np.float64) for name, value in head.state_dict().items()}
    x = np.random.default_rng(0).normal(size=(3, 6))
    projected = x @ p["projection.weight"].T + p["projection.bias"]
    gelu = projected * (1 + erf(projected / math.sqrt(2))) / 2
    summed = gelu @ p["fc.weight"].T + p["fc.bias"] + projected
    centred = summed - summed.mean(axis=1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
    expected = scaled * p["norm.weight"] + p["norm.bias"]
    with torch.inference_mode():
        got = head(torch.tensor(x, dtype=torch.float32)).numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_dropout_hits_the_second_linear_only_and_only_in_training() -> None:
    torch.manual_seed(1)
    head = ProjectionHead(6, 4, dropout=1.0)  # nothing of the second Linear is left
    x = torch.randn(3, 6)
    torch.testing.assert_close(head.train()(x), head.norm(head.projection(x)))
    assert float((head.eval()(x) - head.norm(head.projection(x))).abs().max().detach()) > 1e-3


def learning(towers: Towers) -> set[str]:
    return {name for name, p in towers.image.backbone.named_parameters() if p.requires_grad}


def test_frozen_backbone_leaves_the_heads_to_learn() -> None:
    built = towers("frozen")
    assert learning(built) == set()
    assert all(p.requires_grad for p in built.image.head.parameters())
    assert all(p.requires_grad for p in built.expression.parameters())


def test_all_of_the_backbone_learns() -> None:
    built = towers("all")
    assert learning(built) == {name for name, _ in built.image.backbone.named_parameters()}


def test_last_stage_of_lite0_is_its_last_block_and_head() -> None:
    named = learning(towers("last"))
    assert {name.split(".")[1] for name in named} == {"_blocks", "_conv_head", "_bn1"}
    assert {name.split(".")[2] for name in named if "._blocks." in name} == {"15"}


def test_last_stage_of_a_resnet_is_layer4() -> None:
    named = learning(towers("last", "resnet18"))
    assert named
    assert all(name.startswith("net.net.layer4.") for name in named)


def test_freezing_again_takes_back_what_was_let_go() -> None:
    built = towers("all")
    freeze(built.image, "frozen")
    assert learning(built) == set()


def statistics(towers: Towers) -> dict[str, Tensor]:
    modules = towers.image.backbone.named_modules()
    return {name: m.running_mean.clone() for name, m in modules if isinstance(m, nn.BatchNorm2d)}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trainable", "backbone", "moving"),
    [
        ("frozen", "resnet18", lambda name: False),
        ("last", "resnet18", lambda name: ".layer4." in name),
        ("last", "efficientnet-lite0", lambda name: name in ("net._bn1",) or ".15." in name),
        ("all", "resnet18", lambda name: True),
    ],
)
def test_a_step_moves_what_learns_and_nothing_else(trainable: Any, backbone: str, moving: Any) -> None:
    built = towers(trainable, backbone)
    model = built.modules()
    before = statistics(built)
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    set_training(model, built)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    torch.manual_seed(2)
    tiles, expression = torch.rand(4, 3, 64, 64), torch.rand(4, 5)
    loss = (built.image(tiles) - built.expression(expression)).square().sum()
    loss.backward()
    optimiser.step()
    for name, mean in statistics(built).items():
        assert torch.equal(mean, before[name]) is not moving(name), name
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, weights[name])}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert not changed & frozen
    assert {"image.head.projection.weight", "expression.head.fc.weight"} <= changed
    if trainable != "frozen":
        assert any(name.startswith("image.backbone.") for name in changed)


def test_standardise_is_the_identity_until_it_is_fitted() -> None:
    scale = Standardise(3)
    x = torch.randn(4, 3)
    torch.testing.assert_close(scale(x), x)
    scale.fit(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0, 0.5]))
    expected = (x - torch.tensor([1.0, 2.0, 3.0])) / torch.tensor([2.0, 1.0, 0.5])  # constant: its scale stays
    torch.testing.assert_close(scale(x), expected)
    assert set(scale.state_dict()) == {"mean", "std"}  # it travels with the weights
    assert not list(scale.parameters())


@pytest.mark.slow
def test_fields_of_view_are_concatenated_in_order() -> None:
    built = towers(fields=3)
    built.modules().eval()
    torch.manual_seed(3)
    tiles = torch.rand(2, 9, 64, 64)
    with torch.inference_mode():
        parts = [built.image.backbone(tiles[:, c : c + 3]) for c in (0, 3, 6)]
        features = built.image.features(tiles)
        torch.testing.assert_close(features, torch.cat(parts, dim=1))
        torch.testing.assert_close(built.image(tiles), built.image.project(features))
    assert features.shape == (2, 3 * 1280)
    assert float((parts[0] - parts[1]).abs().max()) > 0


def test_towers_without_pretrained_weights_need_no_file() -> None:
    config = ModelConfig(backbone="resnet18", weights="no/such/file.pth", dim=8)
    with pytest.raises(ValueError, match=r"file\.pth"):
        build_towers(config, 1, 5)
    assert build_towers(config, 1, 5, pretrained=False).image.backbone.dim == 512


@pytest.mark.slow
def test_backbone_normalisation_travels_in_the_tower() -> None:
    """Grey of the mean colour reaches the net as zeros, whatever the backbone calls normal."""
    for name in ("efficientnet-lite0", "resnet18"):
        backbone = build_backbone(name, "random").eval()
        grey = backbone.mean.expand(1, 3, 64, 64)
        with torch.inference_mode():
            torch.testing.assert_close(backbone(grey), backbone.net(torch.zeros(1, 3, 64, 64)))
            assert float((backbone(grey) - backbone.net(grey)).abs().max()) > 0


def test_an_ensembles_cosine_is_the_mean_of_its_heads_cosines() -> None:
    ensemble = build_head(6, ModelConfig(dim=4, heads=3)).eval()
    assert isinstance(ensemble, Ensemble)
    x = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        joined = torch.nn.functional.normalize(ensemble(x), dim=1)
        single = [torch.nn.functional.normalize(head(x), dim=1) for head in ensemble.heads]
    assert joined.shape == (5, 12)
    torch.testing.assert_close(joined @ joined.T, torch.stack([v @ v.T for v in single]).mean(dim=0))
    assert float((single[0] - single[1]).abs().max()) > 0.1, "the heads start from different weights"


def test_one_head_is_the_papers() -> None:
    assert isinstance(build_head(6, ModelConfig(dim=4)), ProjectionHead)
