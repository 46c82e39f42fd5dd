"""The training loop on a toy cohort: it learns, it resumes where it was killed, its seed means something."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_train.checkpoint import load_checkpoint
from bleep_train.config import Config, LossConfig, ModelConfig, OptimConfig
from bleep_train.loop import (
    CHECKPOINT,
    METRICS,
    CollapseError,
    epoch_batches,
    learning_rate,
    principal_components,
    spread,
    train,
)
from bleep_train.model import ExpressionTower, ImageTower, Towers
from bleep_train.source import FeatureSource

CPU = torch.device("cpu")
SPOTS, TEST, PANEL, FEATURES = 160, 40, 30, 12
CONFIG = Config(
    model=ModelConfig(dim=16),
    loss=LossConfig(target_pcs=8),
    optim=OptimConfig(epochs=25, batch_size=64, lr=3e-3, seed=4),
)


class NoBackbone(nn.Module):
    """Stands where a backbone would; its features come from the cache."""

    dim = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.requires_grad_(False)


@pytest.fixture(scope="module")
def toy() -> tuple[Any, Any]:
    """Features f32[n, 8, d] and expression f32[n, p] of spots whose four hidden coordinates drive both."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(SPOTS + TEST, 4))
    features = np.tanh(hidden @ rng.normal(size=(4, FEATURES)))[:, None] + 0.1 * rng.normal(
        size=(SPOTS + TEST, 8, FEATURES)
    )
    panel = np.logaddexp(0, hidden @ rng.normal(size=(4, PANEL))) + 0.1 * rng.random((SPOTS + TEST, PANEL))
    return features.astype(np.float32), panel.astype(np.float32)


def fresh(config: Config, seed: int = 0) -> Towers:
    torch.manual_seed(seed)
    backbone: Any = NoBackbone()
    return Towers(ImageTower(backbone, 1, config.model), ExpressionTower(PANEL, config.model))


def run(toy: Any, config: Config, folder: Path, *, init: int = 0, **options: Any) -> Towers:
    folder.mkdir(exist_ok=True)
    towers, (features, panel) = fresh(config, init), toy
    train(towers, FeatureSource([features[:SPOTS]], CPU), panel[:SPOTS], config, folder, device=CPU, **options)
    return towers


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def same(a: Towers, b: Towers) -> bool:
    mine, other = a.modules().state_dict(), b.modules().state_dict()
    return set(mine) == set(other) and all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.fixture(scope="module")
def unbroken(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Towers, Path]:
    folder = tmp_path_factory.mktemp("unbroken")
    return run(toy, CONFIG, folder), folder


def test_loss_falls_and_retrieval_beats_chance_on_unseen_spots(toy: Any, unbroken: tuple[Towers, Path]) -> None:
    towers, folder = unbroken
    losses = [line["loss"] for line in metrics(folder)]
    assert losses[-1] < 0.7 * losses[0]
    features, panel = (torch.from_numpy(part[SPOTS:]) for part in toy)

    def recall(towers: Towers) -> float:
        """Share of unseen spots whose own expression is among the five nearest to their image."""
        towers.modules().eval()
        with torch.inference_mode():
            image = F.normalize(towers.image.project(features[:, 0]), dim=1)
            nearest = (image @ F.normalize(towers.expression(panel), dim=1).T).topk(5).indices
        return float((nearest == torch.arange(TEST)[:, None]).any(dim=1).float().mean())

    chance = 5 / TEST
    assert recall(fresh(CONFIG)) < 3 * chance
    assert recall(towers) > 4 * chance


def test_metrics_have_a_line_per_epoch_and_tell_of_collapse(unbroken: tuple[Towers, Path]) -> None:
    lines = metrics(unbroken[1])
    assert [line["epoch"] for line in lines] == list(range(25))
    keys = {"epoch", "loss", "ln_batch", "temperature", "lr", "effective_rank", "mean_cosine"}
    assert all(set(line) == keys and all(math.isfinite(v) for v in line.values()) for line in lines)
    assert lines[0]["ln_batch"] == pytest.approx(math.log(64))
    assert lines[0]["temperature"] != lines[-1]["temperature"]  # it learns
    assert lines[-1]["mean_cosine"] < 0.5
    assert lines[-1]["effective_rank"] > 2
    assert lines[3]["lr"] == learning_rate(CONFIG.optim, 3 * 3 + 2, 25 * 3)  # three batches an epoch


@pytest.mark.parametrize(("killed_at", "lines_left"), [(4, 4), (10, 10), (13, 13), (24, 24)])
def test_a_killed_run_resumes_to_the_same_weights(
    toy: Any, unbroken: tuple[Towers, Path], tmp_path: Path, killed_at: int, lines_left: int
) -> None:
    def kill(_stage: str, done: int, _total: int) -> None:
        if done == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(toy, CONFIG, tmp_path, progress=kill)
    assert len(metrics(tmp_path)) == lines_left
    with (tmp_path / METRICS).open("a") as file:
        file.write('{"epoch": 24, "lo')  # a line that was being written
    torch.manual_seed(99)
    seen: list[int] = []
    resumed = run(toy, CONFIG, tmp_path, resume=True, progress=lambda _s, done, _t: seen.append(done))
    assert seen[0] == killed_at // 10 * 10  # from the last checkpoint, not from the start
    assert same(resumed, unbroken[0])
    assert (tmp_path / METRICS).read_text() == (unbroken[1] / METRICS).read_text()


def test_resume_takes_the_checkpoint_not_the_new_towers(
    toy: Any, unbroken: tuple[Towers, Path], tmp_path: Path
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((unbroken[1] / CHECKPOINT).read_bytes())
    (tmp_path / METRICS).write_bytes((unbroken[1] / METRICS).read_bytes())
    assert same(run(toy, CONFIG, tmp_path, init=5, resume=True), unbroken[0])  # finished: nothing is done again
    assert (tmp_path / METRICS).read_text() == (unbroken[1] / METRICS).read_text()
    short = replace(CONFIG, optim=replace(CONFIG.optim, epochs=1))
    assert not same(run(toy, short, tmp_path, init=5), unbroken[0])  # without resume it begins anew
    assert len(metrics(tmp_path)) == 1


def test_the_checkpoint_is_the_model_and_its_optimiser(unbroken: tuple[Towers, Path]) -> None:
    towers, folder = unbroken
    loaded = fresh(CONFIG, seed=6)
    model = nn.ModuleDict({"towers": loaded.modules(), "loss": nn.Module()})
    model["loss"].register_parameter("log_scale", nn.Parameter(torch.zeros(())))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    assert load_checkpoint(folder / CHECKPOINT, model, optimiser) == {"epoch": 24}
    assert same(loaded, towers)
    assert {float(state["step"]) for state in optimiser.state.values()} == {75.0}
    assert list(folder.glob("*.partial")) == []


def test_the_seed_decides(toy: Any, tmp_path: Path) -> None:
    short = replace(CONFIG, optim=replace(CONFIG.optim, epochs=2))
    other = replace(short, optim=replace(short.optim, seed=5))
    first = run(toy, short, tmp_path / "a")
    assert same(first, run(toy, short, tmp_path / "b"))
    assert not same(first, run(toy, other, tmp_path / "c"))
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b") != metrics(tmp_path / "c")


@pytest.mark.parametrize("name", ["paper", "clip", "unit", "pre", "mixed"])
def test_every_objective_learns(toy: Any, tmp_path: Path, name: Any) -> None:
    loss = replace(CONFIG.loss, name=name, temperature=1.0 if name == "paper" else 0.1)
    config = replace(CONFIG, loss=loss, optim=replace(CONFIG.optim, epochs=12))
    run(toy, config, tmp_path)
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert losses[-1] < 0.9 * losses[0]


def test_gradients_are_clipped(toy: Any, tmp_path: Path) -> None:
    def norm(clip: float) -> float:
        optim = replace(CONFIG.optim, epochs=1, clip_norm=clip)
        towers = run(toy, replace(CONFIG, optim=optim), tmp_path)
        return float(
            torch.cat([p.grad.ravel() for p in towers.modules().parameters() if p.grad is not None]).norm()
        )

    assert norm(0.0) > 0.02
    assert norm(0.01) <= 0.01 * 1.001


def test_a_collapse_is_told_once_and_strictly_is_an_error(toy: Any, tmp_path: Path) -> None:
    features, panel = toy
    flat = (np.ones_like(features), panel)  # every tile looks the same
    config = replace(CONFIG, model=ModelConfig(dim=16, dropout=0.0), optim=replace(CONFIG.optim, epochs=4))

    def warnings(data: Any, folder: Path, **options: Any) -> list[str]:
        folder.mkdir()
        towers, source = fresh(config), FeatureSource([data[0][:SPOTS]], CPU)
        return train(towers, source, data[1][:SPOTS], config, folder, device=CPU, **options)

    assert warnings(toy, tmp_path / "healthy", strict=True) == []
    told = warnings(flat, tmp_path / "flat")
    assert len(told) == 1
    assert "epoch 1: the embedding is collapsing: image vectors have a mean cosine of 1.000" in told[0]
    assert len(metrics(tmp_path / "flat")) == 4
    with pytest.raises(CollapseError, match=r"collapsing.*\(--strict\)"):
        warnings(flat, tmp_path / "strict", strict=True)
    assert len(metrics(tmp_path / "strict")) < 4


@pytest.mark.parametrize(("n", "batch"), [(2, 512), (5, 2), (64, 64), (65, 64), (129, 64), (130, 64), (513, 512)])
def test_an_epoch_shows_every_spot_once_and_never_one_alone(n: int, batch: int) -> None:
    config = OptimConfig(batch_size=batch, seed=1)
    batches = epoch_batches(n, config, epoch=3)
    assert Counter(np.concatenate([b.rows for b in batches]).tolist()) == Counter(range(n))
    assert all(2 <= len(b.rows) <= batch + 1 and len(b.rows) == len(b.views) for b in batches)
    views = np.concatenate([b.views for b in batches])
    assert views.min() >= 0
    assert views.max() < 8


def test_epochs_differ_in_order_and_views_and_repeat_by_seed() -> None:
    config = OptimConfig(batch_size=64, seed=1)
    first, again, later = (epoch_batches(256, config, epoch) for epoch in (0, 0, 1))
    other = epoch_batches(256, replace(config, seed=2), 0)
    assert all(np.array_equal(a.rows, b.rows) for a, b in zip(first, again, strict=True))
    assert all(np.array_equal(a.views, b.views) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].rows, np.arange(64))
    for different in (later, other):
        assert not np.array_equal(first[0].rows, different[0].rows)
        assert not np.array_equal(first[0].views, different[0].views)
    assert set(np.concatenate([b.views for b in first]).tolist()) == set(range(8))


def test_one_cycle_warms_up_and_anneals() -> None:
    config = OptimConfig(lr=2.0, schedule="one-cycle", warmup=0.1)
    rates = [learning_rate(config, step, 100) for step in range(100)]
    np.testing.assert_allclose(rates[:10], 2.0 * np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:], 1 + np.cos(np.pi * np.arange(90) / 90))
    assert rates[10] == 2.0
    assert 0 < rates[-1] < 1e-2
    short = [learning_rate(config, step, 2) for step in range(2)]
    assert all(0 < rate <= 2.0 for rate in short)


def test_constant_schedule_is_constant() -> None:
    config = OptimConfig(lr=2.0, schedule="constant")
    assert {learning_rate(config, step, 10) for step in range(10)} == {2.0}


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


def test_principal_components_are_those_of_the_centred_expression() -> None:
    x = np.random.default_rng(1).normal(size=(12, 6)) * [5, 3, 1, 0.5, 0.1, 0.01] + 7
    centred = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors[:, ::-1][:, :3]
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    got: Tensor = principal_components(torch.tensor(x), 3)
    assert got.shape == (12, 3)
    np.testing.assert_allclose((got @ got.T).numpy(), scores @ scores.T, atol=1e-6)  # whatever the signs
