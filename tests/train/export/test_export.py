"""Exported towers: the runtime's ONNX gives what torch gave, at any batch size, from raw uint8 tiles."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bleep_cli.bundle.encoders_folder import Encoders, load_encoders
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder
from bleep_cli.types import F32, U8
from bleep_train.backbones.build import Normalised
from bleep_train.config.schema import Config, DataConfig, ModelConfig
from bleep_train.config.toml import config_from
from bleep_train.export import towers as export
from bleep_train.export.graph import ExportError, _halve, to_onnx
from bleep_train.export.towers import ExpressionGraph, check_parity, export_towers, parity_sample
from bleep_train.model.towers import Towers, build_towers
from bleep_train.runs.export import HALF_TOLERANCE
from bleep_train.training.frozen import FeatureGraph

PX, PANEL, DIM = 64, 40, 16
KEYS = np.array([f"ENSG{i:011d}" for i in range(PANEL)])
CASES = {"efficientnet-lite0": (100.0,), "resnet18": (100.0, 200.0)}


@dataclass(frozen=True)
class Case:
    towers: Towers
    config: Config
    encoders: Encoders
    tiles: U8
    panel: F32

    def in_torch(self) -> tuple[F32, F32]:
        """Unit vectors of the tiles and of the spots, without the classes that are exported."""
        tiles = torch.from_numpy(self.tiles).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            image = F.normalize(self.towers.image.eval()(tiles), dim=1)
            spots = F.normalize(self.towers.expression.eval()(torch.from_numpy(self.panel)), dim=1)
        return image.numpy(), spots.numpy()


def live_towers(config: Config, seed: int) -> Towers:
    """Random towers whose normalisation layers have seen data, so that tiles differ in their features."""
    torch.manual_seed(seed)
    towers = build_towers(config.model, len(config.data.tile_um), PANEL)
    for module in towers.image.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.inference_mode():
        towers.image.train()(torch.rand(16, 3 * len(config.data.tile_um), PX, PX))
    towers.image.scale.fit(
        torch.randn(towers.image.scale.mean.shape), torch.rand(towers.image.scale.std.shape) + 1
    )
    towers.modules().eval()
    return towers


def configured(backbone: str) -> Config:
    return Config(
        data=DataConfig(tile_px=PX, tile_um=CASES[backbone]),
        model=ModelConfig(backbone=backbone, weights="random", dim=DIM),
    )


@pytest.fixture(scope="module", params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    config = configured(request.param)
    towers = live_towers(config, seed=1)
    rng = np.random.default_rng(2)
    tiles = rng.integers(0, 256, (11, PX, PX, 3 * len(config.data.tile_um)), dtype=np.uint8)
    panel = rng.gamma(1.0, 1.0, (60, PANEL)).astype(np.float32)
    return Case(towers, config, export_towers(towers, config, KEYS), tiles, panel)


def session(model: bytes) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])


@pytest.mark.slow
def test_onnx_gives_what_torch_gives(case: Case) -> None:
    image, spots = case.in_torch()
    assert np.abs(image[0] - image[1]).max() > 1e-2  # tiles do differ
    assert np.abs(spots[0] - spots[1]).max() > 1e-2
    np.testing.assert_allclose(OnnxEncoder(case.encoders.image, "cpu").embed(case.tiles), image, atol=1e-4)
    onnx_spots = OnnxExpressionEncoder(case.encoders.expression).embed(case.panel)
    np.testing.assert_allclose(onnx_spots, spots, atol=1e-5)


@pytest.mark.slow
def test_inputs_and_outputs_are_the_contract(case: Case) -> None:
    fields = len(CASES[case.config.model.backbone])
    for model, kind, shape in (
        (case.encoders.image, "tensor(uint8)", [PX, PX, 3 * fields]),
        (case.encoders.expression, "tensor(float)", [PANEL]),
    ):
        ready = session(model)
        (given,), (got,) = ready.get_inputs(), ready.get_outputs()
        assert (given.type, given.shape[1:]) == (kind, shape)
        assert got.type == "tensor(float)"
        assert got.shape[1:] == [DIM]
        assert all(isinstance(side.shape[0], str) for side in (given, got))
        assert onnx.load_from_string(model).opset_import[0].version == 20


@pytest.mark.slow
def test_any_batch_size_gives_the_same_unit_vectors(case: Case) -> None:
    for model, rows in ((case.encoders.image, case.tiles), (case.encoders.expression, case.panel)):
        ready = session(model)
        (name,) = [given.name for given in ready.get_inputs()]
        whole = ready.run(None, {name: rows})[0]
        np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, atol=1e-5)
        for size in (1, 3, 7, 2):
            np.testing.assert_allclose(ready.run(None, {name: rows[:size]})[0], whole[:size], atol=1e-5)


@pytest.mark.slow
def test_parity_is_measured(case: Case) -> None:
    parity = check_parity(case.towers, case.encoders, case.tiles, case.panel, k=10)
    assert 0 <= parity.image_delta < 1e-4
    assert 0 <= parity.expression_delta < 1e-5
    assert parity.neighbours > 0.95


@pytest.mark.slow
def test_half_weights_halve_the_file_and_hardly_move_the_vectors(case: Case) -> None:
    half = replace(case.encoders, image=_halve(case.encoders.image), expression=_halve(case.encoders.expression))
    assert len(half.image) < 0.6 * len(case.encoders.image)
    parity = check_parity(case.towers, half, case.tiles, case.panel, k=10, tolerance=HALF_TOLERANCE)
    assert 0 < parity.image_delta < HALF_TOLERANCE
    assert 0 < parity.expression_delta < HALF_TOLERANCE
    assert parity.neighbours > 0.8
    kinds = {t.data_type for t in onnx.load_from_string(half.image).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert session(half.image).get_inputs()[0].type == "tensor(uint8)"


@pytest.mark.slow
def test_half_weights_reach_both_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured("resnet18")
    towers = live_towers(config, seed=3)
    graph, example = ExpressionGraph(towers.expression), torch.zeros(2, PANEL)
    assert to_onnx(graph, example, "in", half_weights=True) == _halve(to_onnx(graph, example, "in"))
    asked: list[bool] = []
    monkeypatch.setattr(export, "to_onnx", lambda *_, half_weights: asked.append(half_weights) or b"")
    for half_weights in (True, False):
        export_towers(towers, config, KEYS, half_weights=half_weights)
    assert asked == [True, True, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["image", "expression"])
def test_the_towers_of_another_run_are_noticed(case: Case, side: str) -> None:
    other = live_towers(case.config, seed=9)
    mixed = replace(case.towers, **{side: getattr(other, side)})
    with pytest.raises(ExportError, match="differ from the trained ones"):
        check_parity(mixed, case.encoders, case.tiles, case.panel, k=10)


@pytest.mark.slow
@pytest.mark.parametrize("side", ["image", "expression"])
def test_towers_that_diverged_are_noticed(case: Case, side: str) -> None:
    towers = copy.deepcopy(case.towers)
    with torch.no_grad():
        getattr(towers, side).head.fc.weight[0, 0] = float("nan")
    with pytest.raises(ExportError, match="differ"):
        check_parity(towers, case.encoders, case.tiles, case.panel, k=10)


@pytest.mark.slow
def test_encoders_carry_what_the_runtime_must_know(case: Case, tmp_path: Path) -> None:
    case.encoders.save(tmp_path)
    loaded = load_encoders(tmp_path)
    assert loaded == case.encoders
    assert loaded.panel == tuple(KEYS)
    assert loaded.tile == case.config.data.tile
    info: dict[str, Any] = dict(loaded.info)
    assert config_from(info["training"], "encoders") == case.config
    assert (info["k"], info["key"], info["views"]) == (50, "expression", 8)


def test_parity_sample_is_even_over_all_sections() -> None:
    parts = [np.arange(10)[:, None], np.arange(10, 12)[:, None], np.arange(12, 30)[:, None]]
    assert parity_sample(parts, 4).ravel().tolist() == [0, 9, 19, 29]
    assert parity_sample(parts, 100).ravel().tolist() == list(range(30))


@pytest.mark.slow
def test_an_exported_model_names_no_source_file() -> None:
    """The exporter notes where each node came from: paths of the machine it ran on."""
    data = to_onnx(torch.nn.Linear(3, 2), torch.zeros(2, 3), "rows")
    assert b".py" not in data
    assert b"/" + b"site-packages" not in data


class Odd(nn.Module):
    """A backbone of one convolution, with a flaw."""

    dim, mean, std = 6, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)

    def __init__(self, flaw: str) -> None:
        super().__init__()
        self.flaw, self.conv = flaw, nn.Conv2d(3, self.dim, 3)

    @property
    def stages(self) -> list[nn.Module]:
        return [self.conv]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return FLAWS[self.flaw](self.conv(x))


FLAWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x.mean(dim=(2, 3)),
    "map": lambda x: x,
    "branch": lambda x: x.amax(dim=(2, 3)) if x.sum() > 0 else x.amin(dim=(2, 3)),
    "no operation of ONNX": lambda x: torch.linalg.svd(x.flatten(2))[1],
    "chance": lambda x: x.mean(dim=(2, 3)) + torch.rand(6),
    "batch": lambda x: torch.cat([x[:1], x[1:2]]).mean(dim=(2, 3)),
    "not finite": lambda x: x.mean(dim=(2, 3)) / 0,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of the exporter, about what is refused here
@pytest.mark.parametrize(
    ("flaw", "said"),
    [
        ("map", r"backbone odd gives \[b, 6, 6, 6\], not \[b, 6\]$"),
        ("branch", r"backbone odd cannot be exported to ONNX: .*data-dependent expression"),
        ("no operation of ONNX", r"backbone odd cannot be exported to ONNX: No ONNX function found .*svd"),
        ("chance", r"backbone odd gives something else as ONNX: \|Δ\| .* allowed is .*chance"),
        ("batch", r"backbone odd gives \(2, 6\) in torch and \(2, 6\) as ONNX for 3 rows"),
        ("not finite", r"backbone odd gives NaN or infinity for random input"),
    ],
)
def test_a_backbone_that_cannot_become_onnx_is_refused_with_the_reason(flaw: str, said: str) -> None:
    torch.manual_seed(4)
    graph = FeatureGraph(Normalised(Odd(flaw), "odd"))
    with pytest.raises(ExportError, match=said) as refused:
        to_onnx(graph, torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "tiles")
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_without_a_flaw_it_is_exported() -> None:
    graph = FeatureGraph(Normalised(Odd("none"), "odd"))
    data = to_onnx(graph, torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "tiles")
    assert session(data).run(None, {"tiles": np.zeros((4, 8, 8, 3), np.uint8)})[0].shape == (4, 6)


def test_weights_that_fit_no_onnx_file_are_refused() -> None:
    odd = Odd("none")
    odd.large = nn.Parameter(torch.zeros(1).expand(700_000_000))  # 2.8 GB of one number in memory
    with pytest.raises(ExportError, match=r"backbone odd cannot be exported: 2\.8 GB of weights, .* holds 2 GB"):
        to_onnx(FeatureGraph(Normalised(odd, "odd")), torch.zeros(2, 8, 8, 3, dtype=torch.uint8), "tiles")
