"""Somebody's ONNX encoder in training: features, heads, export, and what cannot be done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_models import MAP, PX, TOKENS, D, encoder, made_tiles, saved
from torch.nn import functional as F

import bleep_cli
from bleep_cli.errors import UsageError
from bleep_cli.fitting.backbone import load_backbone
from bleep_cli.towers.encoder import OnnxEncoder, views_of
from bleep_train.backbones.build import build_backbone
from bleep_train.backbones.onnx import OnnxNet
from bleep_train.backbones.protocol import BackboneError
from bleep_train.config.schema import Config, DataConfig, ModelConfig
from bleep_train.export.towers import check_parity, export_towers
from bleep_train.model.towers import build_towers
from bleep_train.training.checkpoint import load_checkpoint, save_checkpoint
from bleep_train.training.frozen import FeatureExtractor, weights_hash

PANEL = 20
CPU = torch.device("cpu")


def asked(folder: Path, opset: int = 17, settings: str = "", **more: Any) -> str:
    return f"onnx:{saved(folder, encoder(opset, **more), settings)}:{MAP},{TOKENS}"


def plain(name: str) -> OnnxEncoder:
    """The same features by the runtime alone."""
    return OnnxEncoder(load_backbone(name.removeprefix("onnx:")).model, "cpu")


def test_it_is_a_backbone_of_the_runtimes_features(tmp_path: Path) -> None:
    name, tiles = asked(tmp_path), made_tiles()
    backbone = build_backbone(name, "imagenet").eval()
    assert backbone.dim == 3 * D
    assert isinstance(backbone.net, OnnxNet)
    assert backbone.net.dims == (D, 2 * D)
    x = torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255
    np.testing.assert_array_equal(backbone(x).numpy(), plain(name).embed(tiles))


def test_cached_features_are_those_of_every_view_and_field(tmp_path: Path) -> None:
    name = asked(tmp_path)
    tiles = np.concatenate([made_tiles(4), made_tiles(4)[:, ::-1]], axis=3)
    found = FeatureExtractor(build_backbone(name, "random"), PX, CPU).views(tiles)
    network = plain(name)
    wanted = [
        np.hstack([network.embed(np.array(view[..., c : c + 3])) for c in (0, 3)]) for view in views_of(tiles, 8)
    ]
    np.testing.assert_array_equal(found, np.stack(wanted, axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(("opset", "half"), [(11, False), (20, True), (22, False)])
def test_the_exported_tower_holds_the_encoder_and_the_head(tmp_path: Path, opset: int, half: bool) -> None:
    """Older or newer than the operators of the head: both are brought to the newer set."""
    config = Config(
        data=DataConfig(tile_px=PX, tile_um=(60.0, 120.0)),
        model=ModelConfig(backbone=asked(tmp_path, opset, 'licence = "CC0"'), dim=8, heads=2),
    )
    torch.manual_seed(0)
    towers = build_towers(config.model, 2, PANEL)
    towers.image.scale.fit(torch.randn(6 * D), torch.rand(6 * D) + 1)
    towers.modules().eval()
    keys = np.array([f"G{i}" for i in range(PANEL)])
    encoders = export_towers(towers, config, keys, half_weights=half)
    tiles = np.concatenate([made_tiles(9), made_tiles(9)[:, ::-1]], axis=3)
    tolerance = 2e-2 if half else 1e-4
    panel = np.random.default_rng(0).random((30, PANEL), np.float32)
    check_parity(towers, encoders, tiles, panel, 5, tolerance=tolerance)
    network = plain(config.model.backbone)
    features = np.hstack([network.embed(np.array(tiles[..., c : c + 3])) for c in (0, 3)])
    with torch.inference_mode():
        wanted = F.normalize(towers.image.project(torch.from_numpy(features)), dim=1).numpy()
    np.testing.assert_allclose(OnnxEncoder(encoders.image, "cpu").embed(tiles), wanted, atol=tolerance)
    assert "own.onnx (CC0)" in encoders.info["licence"]


def test_another_model_of_the_name_is_noticed(tmp_path: Path) -> None:
    """By the cache of features, and by the checkpoint of a run."""
    name = asked(tmp_path)
    first = build_backbone(name, "random")
    assert weights_hash(first) == weights_hash(build_backbone(name, "random"))
    save_checkpoint(tmp_path / "run.safetensors", first, None, {})
    load_checkpoint(tmp_path / "run.safetensors", build_backbone(name, "random"))
    (tmp_path / "own.toml").write_text("mean = [0.5, 0.5, 0.5]")
    other = build_backbone(name, "random")
    assert weights_hash(other) != weights_hash(first)
    with pytest.raises(BackboneError, match=r"own\.onnx, or the settings beside it, changed since the run"):
        load_checkpoint(tmp_path / "run.safetensors", other)


@pytest.mark.parametrize("trainable", ["last", "all"])
def test_it_does_not_learn(tmp_path: Path, trainable: Any) -> None:
    with pytest.raises(BackboneError, match=r'cannot learn; set model\.trainable="frozen"'):
        build_towers(ModelConfig(backbone=asked(tmp_path), trainable=trainable), 1, PANEL)


def test_what_cannot_be_asked_of_it(tmp_path: Path) -> None:
    name = asked(tmp_path)
    with pytest.raises(BackboneError, match=r"set model\.levels=\[0\]"):
        build_backbone(name, "random", (0, 1))
    with pytest.raises(BackboneError, match=r"brings its own weights: leave model\.weights out"):
        build_backbone(name, "own.pth")
    with pytest.raises(BackboneError, match=r"own\.onnx takes tiles of 16 px, not 224: set data\.tile_px=16"):
        FeatureExtractor(build_backbone(name, "random"), 224, CPU)
    with pytest.raises(BackboneError, match=r"onnx:own\.onnx computes no tensor block/tokns; did you mean"):
        build_backbone(name.replace("tokens", "tokns"), "random")
    with pytest.raises(UsageError, match=r"onnx:absent\.onnx: no such file"):
        build_backbone(f"onnx:{tmp_path}/absent.onnx", "random")


@pytest.mark.slow
def test_from_training_to_a_bundle(
    phantoms: Path, train_tiny: Callable[..., str], bleep_train: Callable[..., str], tmp_path: Path
) -> None:
    name = asked(tmp_path, 13, "px = 64", shape=["batch", 3, "h", "w"])
    train_tiny(phantoms, tmp_path / "run", f"model.backbone={name}", "model.levels=[0]", "optim.epochs=2")
    printed = bleep_train("export", tmp_path / "run", "-o", tmp_path / "own.zarr")
    assert "own.zarr" in printed
    bundle = bleep_cli.open_bundle(tmp_path / "own.zarr")
    assert bundle.info.training["model"]["backbone"] == name
    assert "own.onnx" in bundle.info.licence
    bleep_train("evaluate", tmp_path / "run", phantoms, "--on", "C-S1", "-o", tmp_path / "eval")
    assert "ridge" in (tmp_path / "eval" / "table.md").read_text(encoding="utf-8")
