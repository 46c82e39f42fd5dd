"""Backbones: the published weights give the published features, and wrong weights are refused by name."""

from __future__ import annotations

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
from torch.nn import functional as F

from bleep_train.backbones import BACKBONES, Normalised, _imagenet_state, build_backbone
from bleep_train.data import weights_hash

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


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    return _imagenet_state("efficientnet-lite0")


@pytest.fixture(scope="module")
def lite0() -> Normalised:
    return build_backbone("efficientnet-lite0", "imagenet").eval()


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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_resnet_from_a_file_equals_torchvision(tmp_path: Path, name: str, suffix: str) -> None:
    torch.manual_seed(3)
    model = torchvision.models.get_model(name, weights=None)
    for module in model.modules():  # statistics of a net that has seen data
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        save_file(model.state_dict(), path)
    ours = build_backbone(name, str(path)).eval()
    model.fc = torch.nn.Identity()
    model.eval()
    rgb = photograph("astronaut", 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = model((rgb - mean.view(3, 1, 1)) / std.view(3, 1, 1))
        features = ours(rgb)
    assert features.shape == (1, ours.dim)
    assert features.std() > 0.01
    torch.testing.assert_close(features, expected, rtol=0, atol=1e-6)


def test_every_backbone_gives_its_dim_and_stages() -> None:
    dims = {"efficientnet-lite0": 1280, "resnet18": 512, "resnet50": 2048, "resnet101": 2048}
    assert set(BACKBONES) == set(dims)
    for name in ("efficientnet-lite0", "resnet18"):
        net = build_backbone(name, "random").eval()
        with torch.inference_mode():
            assert net(torch.rand(2, 3, 64, 64)).shape == (2, dims[name])
    assert build_backbone("resnet50", "random").dim == dims["resnet50"]


def test_random_weights_follow_torch_seed() -> None:
    def draw(seed: int) -> str:
        torch.manual_seed(seed)
        return weights_hash(build_backbone("resnet18", "random"))

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)


def test_unknown_backbone_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"'vgg' is not one of efficientnet-lite0, resnet18, resnet50, resnet101"):
        build_backbone("vgg", "random")


def test_weights_that_are_no_file() -> None:
    with pytest.raises(ValueError, match=r'"nowhere\.pth" is neither "imagenet", "random" nor a file'):
        build_backbone("resnet18", "some/where/nowhere.pth")


def test_weights_of_another_net_are_refused(tmp_path: Path, published: Any) -> None:
    path = tmp_path / "lite0.pth"
    torch.save(published, path)
    with pytest.raises(ValueError, match=r"do not fit this backbone: missing \['net\.conv1"):
        build_backbone("resnet18", str(path))


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    state = torchvision.models.get_model("resnet18", weights=None).state_dict()
    state["conv1.weight"] = state["conv1.weight"][:, :1]  # a net for grey pictures
    torch.save(state, tmp_path / "grey.pth")
    with pytest.raises(ValueError, match=r"do not fit this backbone.*conv1\.weight"):
        build_backbone("resnet18", str(tmp_path / "grey.pth"))


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
