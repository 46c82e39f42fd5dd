"""Backbones: the published weights give the published features, and wrong weights are refused by name."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image
from safetensors.torch import save_file
from skimage import data
from torch import Tensor
from torch.nn import Module
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck

from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.backbones.build import BACKBONES, Normalised, build_backbone
from bleep_train.backbones.protocol import Backbone, BackboneError
from bleep_train.backbones.weights import imagenet_state
from bleep_train.config.schema import ModelConfig
from bleep_train.export.graph import to_onnx
from bleep_train.model.towers import ImageTower, freeze
from bleep_train.training.frozen import FeatureGraph, weights_hash

DIMS = {
    "efficientnet-lite0": 1280,
    "resnet18": 512,
    "resnet50": 2048,
    "resnet101": 2048,
    "densenet121": 1024,
    "vit_b_16": 768,
}
CATS = slice(281, 286)  # tabby, tiger cat, Persian, Siamese, Egyptian
ESPRESSO = slice(967, 968)


def photograph(name: str, px: int) -> Tensor:
    """f32[1, 3, px, px] in [0, 1]: the middle of one of scikit-image's photographs."""
    image = getattr(data, name)()
    height, width = image.shape[:2]
    side = min(height, width)
    y, x = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(image[y : y + side, x : x + side]).resize((px, px), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None].float() / 255


def seasoned(net: Module) -> Module:
    """The same net with normalisation statistics of one that has seen data."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return imagenet_state("efficientnet-lite0")


@pytest.fixture(scope="module")
def lite0() -> Normalised:
    return build_backbone("efficientnet-lite0", "imagenet").eval()


@pytest.mark.slow
@pytest.mark.parametrize("px", [224, 97])  # an odd size pads unevenly
def test_lite0_equals_the_published_implementation(lite0: Normalised, published: Any, px: int) -> None:
    other = EfficientNet.from_name("efficientnet-lite0", image_size=px)
    other.load_state_dict(published)
    other.eval()
    for name in ("astronaut", "chelsea", "coffee"):
        rgb = photograph(name, px)
        with torch.inference_mode():
            ours = lite0(rgb)
            theirs = other.extract_features((rgb - 0.5) / 0.5).mean(dim=(2, 3))
        assert ours.shape == (1, lite0.dim) == (1, 1280)
        assert ours.std() > 0.1
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "classes"), [("chelsea", CATS), ("coffee", ESPRESSO)])
def test_the_published_classifier_knows_our_features(
    lite0: Normalised, published: Any, name: str, classes: slice
) -> None:
    def share(rgb: Tensor) -> float:
        with torch.inference_mode():
            logits = F.linear(lite0(rgb), published["_fc.weight"], published["_fc.bias"])
        return float(logits.softmax(1)[0, classes].sum())

    rgb = photograph(name, 224)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    as_torchvision = (rgb - mean.view(3, 1, 1)) / std.view(3, 1, 1) * 0.5 + 0.5
    assert share(rgb) > 0.85
    assert share(rgb) > share(rgb * 0.5 + 0.5)  # [0, 1] is not what the weights expect
    assert share(rgb) > share(as_torchvision)  # nor is torchvision's normalisation
    assert share(rgb) > share(rgb.flip(1))  # nor BGR


def test_lite0_stages_hold_every_parameter_once() -> None:
    net = build_backbone("efficientnet-lite0", "random")
    held = [id(p) for stage in net.stages for p in stage.parameters()]
    assert len(net.stages) == 9
    assert sorted(held) == sorted(id(p) for p in net.parameters())
    other = EfficientNet.from_name("efficientnet-lite0")
    theirs = sum(p.numel() for name, p in other.named_parameters() if not name.startswith("_fc."))
    assert sum(p.numel() for p in net.parameters()) == theirs


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "densenet121"])
def test_weights_from_a_file_give_torchvisions_features(tmp_path: Path, name: str, suffix: str) -> None:
    torch.manual_seed(3)
    model = seasoned(torchvision.models.get_model(name, weights=None))
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path)
    ours = build_backbone(name, str(path)).eval()
    setattr(model, "classifier" if name == "densenet121" else "fc", torch.nn.Identity())
    model.eval()
    rgb = photograph("astronaut", 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = model((rgb - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        features = ours(rgb)
    assert features.shape == (1, ours.dim)
    assert features.std() > 0.01
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def vit() -> Normalised:
    """ViT-B/16: 86 M parameters, made once."""
    torch.manual_seed(4)
    return build_backbone("vit_b_16", "random").eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(DIMS))
def test_every_backbone_gives_its_dim(name: str, vit: Normalised) -> None:
    assert set(BACKBONES) == set(DIMS)
    net = vit if name == "vit_b_16" else build_backbone(name, "random").eval()
    rgb = torch.rand(2, 3, *(224, 224) if name == "vit_b_16" else (64, 96))
    with torch.inference_mode():
        features = net(rgb)
    assert isinstance(net.net, Backbone)
    assert features.shape == (2, net.dim) == (2, DIMS[name])
    assert features.dtype == torch.float32
    assert not torch.equal(features[0], features[1])


def test_vit_names_its_tile_size(vit: Normalised) -> None:
    with pytest.raises(BackboneError, match=r"vit_b_16 takes tiles of 224 px, not 64 × 64: set data\.tile_px=224"):
        vit(torch.rand(1, 3, 64, 64))


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("resnet50", r"net\.net\.layer4\."),
        ("resnet101", r"net\.net\.layer4\."),
        ("densenet121", r"net\.net\.features\.(denseblock4|norm5)\."),
        ("vit_b_16", r"net\.net\.encoder\.(layers\.encoder_layer_(9|10|11)|ln)\."),
    ],
)
def test_the_last_stage_learns_alone(name: str, last: str, vit: Normalised) -> None:
    config = ModelConfig(backbone=name, weights="random", trainable="last", dim=8)
    net = vit if name == "vit_b_16" else build_backbone(name, "random")
    tower = ImageTower(net, 1, config)
    freeze(tower, "last")
    learning = {key for key, p in net.named_parameters() if p.requires_grad}
    assert learning == {key for key, _ in net.named_parameters() if re.match(last, key)}
    assert learning
    held = [id(p) for stage in net.stages for p in stage.parameters()]
    assert len(net.stages) == 5
    assert sorted(held) == sorted(id(p) for p in net.parameters())


def bottlenecks() -> Module:
    return torchvision.models.ResNet(Bottleneck, [1, 1, 1, 1])


def dense_blocks() -> Module:
    return torchvision.models.DenseNet(growth_rate=8, block_config=(1, 1, 1, 1), num_init_features=16)


def patches() -> Module:
    return torchvision.models.VisionTransformer(64, 16, num_layers=4, num_heads=2, hidden_dim=32, mlp_dim=64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shallow"), [("resnet50", bottlenecks), ("densenet121", dense_blocks), ("vit_b_16", patches)]
)
def test_a_backbone_is_the_same_as_onnx(name: str, shallow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and narrower layers than the named net has, but of the same kinds and behind the same code."""
    torch.manual_seed(5)
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: shallow())
    graph = FeatureGraph(seasoned(build_backbone(name, "random")).eval())
    with torch.no_grad():  # a new ViT has no positions and no class token
        for parameter in graph.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    tiles = np.random.default_rng(6).integers(0, 256, (5, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(tiles)).numpy()
    model = to_onnx(graph, torch.zeros(2, 64, 64, 3, dtype=torch.uint8), "tiles")
    got = OnnxEncoder(model, "cpu").embed(tiles)
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * np.abs(expected).max()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_random_weights_follow_torch_seed() -> None:
    def draw(seed: int) -> str:
        torch.manual_seed(seed)
        return weights_hash(build_backbone("resnet18", "random"))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_unknown_backbone_names_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"'vgg' is not one of efficientnet-lite0, resnet18, .*, timm:NAME, file:PATH"
    ):
        build_backbone("vgg", "random")


def test_timm_that_is_not_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(BackboneError, match=r'need timm, which cannot be imported .*"\.\[timm\]"'):
        build_backbone("timm:resnet10t", "random")


def test_weights_that_are_no_file() -> None:
    with pytest.raises(ValueError, match=r'"nowhere\.pth" is neither "imagenet", "random" nor a file'):
        build_backbone("resnet18", "some/where/nowhere.pth")


def test_weights_of_another_net_are_refused(tmp_path: Path, published: Any) -> None:
    path = tmp_path / "lite0.pth"
    torch.save(published, path)
    with pytest.raises(ValueError, match=r"do not fit this backbone: missing \['conv1"):
        build_backbone("resnet18", str(path))


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.get_model("resnet18", weights=None).state_dict()
    state["conv1.weight"] = state["conv1.weight"][:, :1]  # a net for grey pictures
    torch.save(state, tmp_path / "grey.pth")
    with pytest.raises(ValueError, match=r"do not fit this backbone.*conv1\.weight"):
        build_backbone("resnet18", str(tmp_path / "grey.pth"))


@pytest.mark.slow
def test_old_checkpoints_fit(tmp_path: Path) -> None:
    """torchvision's first DenseNet files name norm1 norm.1, and none of that age count batches."""
    torch.manual_seed(7)
    model = seasoned(torchvision.models.get_model("densenet121", weights=None))
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    old = {re.sub(r"(denselayer\d+\.(norm|conv))([12])", r"\1.\3", key): value for key, value in state.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    torch.save({"state_dict": old}, tmp_path / "old.pth")
    net = build_backbone("densenet121", str(tmp_path / "old.pth")).net
    assert all(torch.equal(value, net.net.state_dict()[key]) for key, value in state.items() if "features" in key)


def test_a_file_that_holds_more_than_weights(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "weights": [1.0]}, tmp_path / "run.pth")
    with pytest.raises(BackboneError, match=r'"run\.pth" is no state dict: it holds more than named tensors'):
        build_backbone("resnet18", str(tmp_path / "run.pth"))


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_a_file_that_holds_no_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<html>404</html>" * 10)
    with pytest.raises(ValueError, match=name):
        build_backbone("resnet18", str(tmp_path / name))


def test_imagenet_without_network_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    enum = torchvision.models.get_model_weights("resnet50")

    def offline(*_args: Any, **_kwargs: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(enum, "get_state_dict", offline)
    with pytest.raises(ValueError, match=r'resnet50 could not be downloaded.*weights = "path/to/resnet50\.pth"'):
        build_backbone("resnet50", "imagenet")
