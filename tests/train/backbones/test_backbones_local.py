"""A backbone from the user's own file: what keeps to the protocol is taken, the rest is told what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bleep_cli.towers.encoder import OnnxEncoder
from bleep_train.backbones.build import build_backbone
from bleep_train.backbones.protocol import BackboneError
from bleep_train.export.graph import to_onnx
from bleep_train.training.frozen import FeatureGraph

ENCODER = """
from __future__ import annotations
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Size:
    dim: int

class Encoder(nn.Module):
    dim, mean, std = 6, (0.1, 0.2, 0.3), (0.5, 0.5, 0.25)

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, Size(6).dim, 5)
        torch.nn.init.constant_(self.conv.weight, 0.25)

    @property
    def stages(self):
        return [self.conv]

    def forward(self, x):
        return self.conv(x).relu().mean(dim=(2, 3))

def backbone():
    return Encoder()
"""


def written(folder: Path, code: str) -> str:
    path = folder / "encoder.py"
    path.write_text(code)
    return f"file:{path}"


def test_a_file_gives_a_backbone_with_its_own_weights(tmp_path: Path) -> None:
    net = build_backbone(written(tmp_path, ENCODER), "random")
    assert net.dim == 6
    assert torch.equal(net.net.conv.weight, torch.full((6, 3, 5, 5), 0.25))
    assert list(net.stages) == [net.net.conv]
    rgb = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        expected = net.net((rgb - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)) / net.std)
        torch.testing.assert_close(net(rgb), expected)


def test_a_file_with_a_state_dict_beside_it(tmp_path: Path) -> None:
    weight = torch.randn(6, 3, 5, 5)
    save_file({"conv.weight": weight, "conv.bias": torch.zeros(6)}, tmp_path / "own.safetensors")
    net = build_backbone(written(tmp_path, ENCODER), str(tmp_path / "own.safetensors"))
    assert torch.equal(net.net.conv.weight, weight)
    save_file({"conv.weight": weight}, tmp_path / "half.safetensors")
    with pytest.raises(BackboneError, match=r"do not fit this backbone: missing \['conv\.bias'\]"):
        build_backbone(written(tmp_path, ENCODER), str(tmp_path / "half.safetensors"))


@pytest.mark.slow
def test_a_file_becomes_onnx(tmp_path: Path) -> None:
    graph = FeatureGraph(build_backbone(written(tmp_path, ENCODER), "random").eval())
    tiles = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    model = to_onnx(graph, tiles[:2], "tiles")
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(OnnxEncoder(model, "cpu").embed(tiles.numpy())), graph(tiles))
    assert str(tmp_path).encode() not in model


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("def backbone():", "def encoder():", "AttributeError: module .* has no attribute 'backbone'"),
        ("return Encoder()", "return Encoder", r"backbone\(\) returned type, a torch\.nn\.Module is needed"),
        ("    return Encoder()", "    raise OSError('no weights here')", "OSError: no weights here"),
        ("def backbone():", "def backbone(:", "SyntaxError"),
        ("dim, mean, std = 6,", "mean, std =", "Encoder has no dim"),
        ("std = 6,", "std = 6.0,", r"dim = 6\.0, the length of a feature vector is needed"),
        ("(0.1, 0.2, 0.3)", "(26, 51, 77)", r"mean = \(26, 51, 77\); give three numbers for RGB in \[0, 1\]"),
        ("(0.5, 0.5, 0.25)", "(0.5, 0.5, 0.0)", "std = .*; give three numbers"),
        ("(0.5, 0.5, 0.25)", "0.5", r"std = 0\.5; give three numbers"),
        ("def stages", "def layers", "Encoder has no stages"),
        ("return [self.conv]", "return self.conv", "stages must be a list of modules"),
        ("return [self.conv]", "return []", "stages is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in ENCODER
    with pytest.raises(BackboneError, match=rf"^file:encoder\.py: {said}"):
        build_backbone(written(tmp_path, ENCODER.replace(old, new)), "random")


def test_features_of_another_length_are_told(tmp_path: Path) -> None:
    for end, said in ((".mean(dim=3)", r"\[b, 6, 28\], not \[b, 6\]"), (", 1", r"a tuple, not a tensor \[b, 6\]")):
        net = build_backbone(written(tmp_path, ENCODER.replace(".mean(dim=(2, 3))", end)), "random")
        with pytest.raises(BackboneError, match=rf"backbone file:.* gives {said}"):
            net(torch.rand(1, 3, 32, 32))


def test_a_file_brings_its_own_weights(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"brings its own weights: set model\.weights=random"):
        build_backbone(written(tmp_path, ENCODER), "imagenet")


@pytest.mark.parametrize("name", ["nowhere.py", "encoder.txt"])
def test_what_is_no_python_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "encoder.txt").write_text(ENCODER)
    with pytest.raises(BackboneError, match=rf"file:{name}: (no such file|not a Python file)"):
        build_backbone(f"file:{tmp_path / name}", "random")
