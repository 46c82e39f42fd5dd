"""Collapse is seen where it happens: in real trainings that are driven into it, and in no healthy one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import CPU, head_towers, metrics, tile_towers, toy_data, toy_tiles

from bleep_train.config.schema import Config, LossConfig, ModelConfig, OptimConfig
from bleep_train.training.loop import train
from bleep_train.training.monitor import CollapseError, collapse_signs, spread
from bleep_train.training.source import FeatureSource, TileSource

SPOTS = 96
CONFIG = Config(
    model=ModelConfig(dim=16, dropout=0.0),
    loss=LossConfig(target_pcs=8),
    optim=OptimConfig(epochs=6, batch_size=48, lr=3e-3),
)


def on_features(config: Config, folder: Path, features: Any = None, **options: Any) -> list[str]:
    toy, panel = toy_data(SPOTS)
    folder.mkdir()
    source = FeatureSource([toy if features is None else features], CPU)
    return train(head_towers(config), source, panel, config, folder, device=CPU, **options)


def test_a_healthy_training_is_not_suspected(tmp_path: Path) -> None:
    for loss in ("paper", "mixed"):
        temperature = 1.0 if loss == "paper" else 0.07
        config = replace(CONFIG, loss=replace(CONFIG.loss, name=loss, temperature=temperature))
        assert on_features(config, tmp_path / loss, strict=True) == []


@pytest.mark.slow
def test_tiles_that_all_look_alike_collapse(tmp_path: Path) -> None:
    config = replace(CONFIG, model=replace(CONFIG.model, trainable="all"))
    blank = [np.full((SPOTS, 16, 16, 3), 230, np.uint8)]

    def on_tiles(tiles: Any, folder: Path, **options: Any) -> list[str]:
        folder.mkdir()
        source, panel = TileSource(tiles, CPU), toy_data(SPOTS)[1]
        return train(tile_towers(config, norm=True), source, panel, config, folder, device=CPU, **options)

    assert on_tiles([toy_tiles(SPOTS)], tmp_path / "tissue", strict=True) == []
    told = on_tiles(blank, tmp_path / "blank")
    assert len(told) == 1  # once, not every epoch
    assert "epoch 1: the embedding is collapsing: image vectors have a mean cosine of 1.000" in told[0]
    assert "effective rank" in told[0]
    assert len(metrics(tmp_path / "blank")) == 6  # a warning does not stop it
    with pytest.raises(CollapseError, match=r"collapsing.*\(strict\)"):
        on_tiles(blank, tmp_path / "strict", strict=True)
    assert len(metrics(tmp_path / "strict")) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "sign"),
    [
        ("paper", "the loss is .* at ln\\(batch\\) = 3.87"),
        ("mixed", "the loss stays at ln\\(batch\\) = 3.87, the loss of not knowing"),
        ("clip", "the loss stays at ln\\(batch\\) = 3.87, the loss of not knowing"),
    ],
)
def test_an_absurd_learning_rate_is_a_collapse(tmp_path: Path, loss: Any, sign: str) -> None:
    """Learnable data, the towers of the healthy run, weights thrown far off. Unit vectors may still look spread
    out; the loss tells that they say nothing."""
    temperature = 1.0 if loss == "paper" else 0.07
    optim = replace(CONFIG.optim, lr=10.0, schedule="constant", epochs=8)
    config = replace(CONFIG, loss=replace(CONFIG.loss, name=loss, temperature=temperature), optim=optim)
    told = on_features(config, tmp_path / "absurd")
    assert len(told) == 1
    assert re.search(f"the embedding is collapsing: {sign}. Try a smaller optim.lr", told[0])
    with pytest.raises(CollapseError, match="collapsing"):
        on_features(config, tmp_path / "strict", strict=True)


def test_weights_that_are_no_numbers_are_a_collapse_not_a_crash(tmp_path: Path) -> None:
    features = toy_data(SPOTS)[0]
    features[5] = np.nan
    told = on_features(CONFIG, tmp_path / "nan", features)
    assert "mean cosine of nan" in told[0]
    assert "the loss is nan" in told[0]


def test_collapse_is_told_from_health() -> None:
    config = Config(optim=OptimConfig(epochs=20))
    healthy = {"epoch": 10, "loss": 4.0, "ln_batch": 6.0, "mean_cosine": 0.1, "effective_rank": 90.0}
    assert collapse_signs(healthy, config) == []
    for sick, word in (
        ({"mean_cosine": 0.999}, "mean cosine"),
        ({"effective_rank": 1.1}, "effective rank"),
        ({"loss": float("nan")}, "loss is nan"),
        ({"loss": 5.999}, "the loss stays at ln(batch)"),
    ):
        assert word in collapse_signs({**healthy, **sick}, config)[0]
        assert collapse_signs({**healthy, **sick, "epoch": 0}, config) == []
    for passing in ({"loss": 6.1}, {"loss": 5.9}, {"loss": 6.0, "epoch": 9}):
        assert collapse_signs({**healthy, **passing}, config) == []
    published = replace(config, loss=LossConfig(name="paper"))
    assert collapse_signs({**healthy, "loss": 6.0}, published) == []
    assert CollapseError.exit_code == 1


def test_spread_tells_collapse_from_health() -> None:
    collapsed = spread(torch.full((20, 8), 0.3))
    assert collapsed["effective_rank"] == pytest.approx(1, abs=1e-4)
    assert collapsed["mean_cosine"] == pytest.approx(1, abs=1e-4)
    orthogonal = spread(3 * torch.eye(8))
    assert orthogonal["mean_cosine"] == pytest.approx(0, abs=1e-5)
    assert orthogonal["effective_rank"] == pytest.approx(7, abs=1e-3)  # one goes with the mean
    opposite = spread(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    assert opposite["mean_cosine"] == pytest.approx(-1, abs=1e-5)
    assert opposite["effective_rank"] == pytest.approx(1, abs=1e-4)
