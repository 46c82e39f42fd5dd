"""timm's models as backbones: features, normalisation and layer groups are timm's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.backbones.protocol import Backbone, BackboneError
from bleep_train.export.graph import to_onnx
from bleep_train.training.frozen import FeatureGraph

timm = pytest.importorskip("timm")

PX = 64  # none of the models below was made for it


def trained(name: str, seed: int) -> Any:
    """A model as somebody else would have it: with a classifier, and not as initialised."""
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "encoder.safetensors"
    save_file(trained("test_vit", seed=1).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def vit(saved: Path) -> Normalised:
    return build_backbone("timm:test_vit", str(saved)).eval()


@pytest.mark.slow
def test_weights_from_a_file_give_timms_features(vit: Normalised) -> None:
    model = trained("test_vit", seed=1)
    config = timm.data.resolve_model_data_config(model)
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    rgb = torch.rand(2, 3, 160, 160)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features((rgb - mean) / std), pre_logits=True)
        features = vit(rgb)
    assert isinstance(vit.net, Backbone)
    assert features.shape == (2, vit.dim) == (2, 64)
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_positions_follow_the_tile_size_and_export(vit: Normalised) -> None:
    graph = FeatureGraph(vit)
    tiles = np.random.default_rng(2).integers(0, 256, (5, PX, PX, 3), np.uint8)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(tiles)).numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * np.abs(expected).max()
    got = OnnxEncoder(to_onnx(graph, torch.zeros(2, PX, PX, 3, dtype=torch.uint8), "tiles"), "cpu").embed(tiles)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "dim", "last"),
    [
        ("test_vit", 64, ("blocks.5.", "norm.")),
        ("resnet10t", 512, ("layer4.",)),
        ("test_efficientnet", 256, ("blocks.4.", "conv_head.", "bn2.")),
        ("test_convnext2", 128, ("stages.3.", "head.norm.")),
    ],
)
def test_layers_are_grouped_into_stages(name: str, dim: int, last: tuple[str, ...]) -> None:
    net = build_backbone(f"timm:{name}", "random").eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, PX, PX)).shape == (2, net.dim) == (2, dim)
    named = {id(p): key.removeprefix("net.net.") for key, p in net.named_parameters()}
    stages = [[named.pop(id(p)) for p in stage.parameters()] for stage in net.stages]
    assert not named  # every parameter once
    assert 2 < len(stages) <= 5
    assert {key for prefix in last for key in stages[-1] if key.startswith(prefix)} == set(stages[-1])
    assert all(any(key.startswith(prefix) for key in stages[-1]) for prefix in last)


def test_a_model_of_one_size_names_it() -> None:
    net = build_backbone("timm:test_vit_relpos", "random").eval()
    with pytest.raises(BackboneError, match=r"test_vit_relpos failed on tiles of 64 px .*data\.tile_px=160"):
        net(torch.rand(1, 3, PX, PX))
    assert net(torch.rand(1, 3, 160, 160)).shape == (1, net.dim)


def test_weights_of_another_model_are_refused(saved: Path) -> None:
    with pytest.raises(BackboneError, match=r"do not fit this backbone: missing \['conv1\."):
        build_backbone("timm:resnet10t", str(saved))


@pytest.mark.slow
def test_a_model_saved_with_its_config(saved: Path, tmp_path: Path, vit: Normalised) -> None:
    """The form in which many pathology encoders are given out: config.json beside the weights."""
    pretrained = {"input_size": [3, 160, 160], "fixed_input_size": True, "mean": [0.1, 0.2, 0.3]}
    config = {"architecture": "test_vit", "num_classes": 0, "model_args": {}, "pretrained_cfg": pretrained}
    (tmp_path / "config.json").write_text(json.dumps(config))
    net = build_backbone(f"timm:local-dir:{tmp_path}", str(saved)).eval()
    torch.testing.assert_close(net.mean.ravel(), torch.tensor([0.1, 0.2, 0.3]))
    rgb = torch.rand(1, 3, PX, PX)
    with torch.inference_mode():
        torch.testing.assert_close(net(rgb), vit.net((rgb - net.mean) / net.std))


@pytest.mark.parametrize("name", ["no_such_net", "owner/model"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(BackboneError, match=f"timm .* has no model '{name}'"):
        build_backbone(f"timm:{name}", "random")


def test_pretrained_weights_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match=r"timm:resnet10t could not be made \(LocalEntryNotFoundError: .*\)"):
        build_backbone("timm:resnet10t", "imagenet")
