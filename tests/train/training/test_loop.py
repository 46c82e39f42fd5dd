"""The training loop on a toy cohort: it learns, it resumes where it was killed, its seed means something."""

from __future__ import annotations

import math
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from toy import CPU, head_towers, metrics, same, tile_towers, toy_data, toy_tiles

from bleep_cli.errors import UsageError
from bleep_train.config.schema import AugmentConfig, Config, LossConfig, ModelConfig, OptimConfig, ValidationConfig
from bleep_train.model.towers import Towers
from bleep_train.training.batches import ahead, epoch_batches, learning_rate
from bleep_train.training.checkpoint import CHECKPOINT, METRICS, load_checkpoint
from bleep_train.training.loop import principal_components, train
from bleep_train.training.source import FeatureSource, TileSource

SPOTS, TEST = 160, 40
CONFIG = Config(
    model=ModelConfig(dim=16),
    loss=LossConfig(target_pcs=8),
    optim=OptimConfig(epochs=25, batch_size=64, lr=3e-3, seed=4),
)


@pytest.fixture(scope="module")
def toy() -> tuple[Any, Any]:
    """Features f32[n, 8, d] and expression f32[n, p] of the toy cohort."""
    return toy_data(SPOTS + TEST)


def fresh(config: Config, seed: int = 0) -> Towers:
    return head_towers(config, seed)


def run(toy: Any, config: Config, folder: Path, *, init: int = 0, **options: Any) -> Towers:
    folder.mkdir(exist_ok=True)
    towers, (features, panel) = fresh(config, init), toy
    train(towers, FeatureSource([features[:SPOTS]], CPU), panel[:SPOTS], config, folder, device=CPU, **options)
    return towers


@pytest.fixture(scope="module")
def unbroken(toy: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Towers, Path]:
    folder = tmp_path_factory.mktemp("unbroken")
    return run(toy, CONFIG, folder), folder


@pytest.mark.slow
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


@pytest.mark.slow
def test_metrics_have_a_line_per_epoch_and_tell_of_collapse(unbroken: tuple[Towers, Path]) -> None:
    lines = metrics(unbroken[1])
    assert [line["epoch"] for line in lines] == list(range(25))
    keys = {"epoch", "loss", "ln_batch", "temperature", "lr", "effective_rank", "mean_cosine"}
    assert all(set(line) == keys and all(math.isfinite(v) for v in line.values()) for line in lines)
    assert lines[0]["ln_batch"] == pytest.approx((2 * math.log(64) + math.log(32)) / 3)  # 160 spots
    assert lines[0]["temperature"] != lines[-1]["temperature"]  # it learns
    assert lines[-1]["mean_cosine"] < 0.5
    assert lines[-1]["effective_rank"] > 2
    assert lines[3]["lr"] == learning_rate(CONFIG.optim, 3 * 3 + 2, 25 * 3)  # three batches an epoch


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_checkpoint_is_the_model_and_its_optimiser(unbroken: tuple[Towers, Path]) -> None:
    towers, folder = unbroken
    loaded = fresh(CONFIG, seed=6)
    model = nn.ModuleDict({"towers": loaded.modules(), "loss": nn.Module()})
    model["loss"].register_parameter("log_scale", nn.Parameter(torch.zeros(())))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad])
    assert load_checkpoint(folder / CHECKPOINT, model, optimiser) == {"epoch": 24}
    assert same(loaded, towers)
    assert {float(state["step"]) for state in optimiser.state.values()} == {75.0}
    assert list(folder.glob(".*.bleep-tmp")) == []


@pytest.mark.slow
def test_the_seed_decides(toy: Any, tmp_path: Path) -> None:
    short = replace(CONFIG, optim=replace(CONFIG.optim, epochs=2))
    other = replace(short, optim=replace(short.optim, seed=5))
    first = run(toy, short, tmp_path / "a")
    assert same(first, run(toy, short, tmp_path / "b"))
    assert not same(first, run(toy, other, tmp_path / "c"))
    assert metrics(tmp_path / "a") == metrics(tmp_path / "b") != metrics(tmp_path / "c")


@pytest.mark.slow
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


@pytest.mark.parametrize(("n", "batch"), [(2, 512), (5, 2), (64, 64), (65, 64), (129, 64), (130, 64), (513, 512)])
def test_an_epoch_shows_every_spot_once_and_never_one_alone(n: int, batch: int) -> None:
    config = Config(optim=OptimConfig(batch_size=batch, seed=1))
    batches = epoch_batches(n, config, epoch=3)
    assert Counter(np.concatenate([b.rows for b in batches]).tolist()) == Counter(range(n))
    assert all(2 <= len(b.rows) <= batch + 1 and len(b.rows) == len(b.views) for b in batches)
    views = np.concatenate([b.views for b in batches])
    assert views.min() >= 0
    assert views.max() < 8


def test_epochs_differ_in_order_and_views_and_repeat_by_seed() -> None:
    config = Config(optim=OptimConfig(batch_size=64, seed=1))
    first, again, later = (epoch_batches(256, config, epoch) for epoch in (0, 0, 1))
    other = epoch_batches(256, Config(optim=replace(config.optim, seed=2)), 0)
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


def test_principal_components_are_those_of_the_centred_expression() -> None:
    x = np.random.default_rng(1).normal(size=(12, 6)) * [5, 3, 1, 0.5, 0.1, 0.01] + 7
    centred = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    scores = centred @ vectors[:, ::-1][:, :3]
    scores /= np.linalg.norm(scores, axis=1, keepdims=True)
    got: Tensor = principal_components(torch.tensor(x), 3)
    assert got.shape == (12, 3)
    np.testing.assert_allclose((got @ got.T).numpy(), scores @ scores.T, atol=1e-6)  # whatever the signs


# --- tiles: what runs on a GPU, on a CPU


TILES = Config(
    model=ModelConfig(dim=8, trainable="all"),
    loss=LossConfig(target_pcs=4),
    optim=OptimConfig(epochs=3, batch_size=16, lr=3e-3, micro_batch=5, clip_norm=1.0),
    augment=AugmentConfig(stain_jitter=0.05),
)


def run_tiles(config: Config, folder: Path, **options: Any) -> Towers:
    folder.mkdir(exist_ok=True)
    towers, source = tile_towers(config, norm=True), TileSource([toy_tiles(20), toy_tiles(21, 1)], CPU)
    train(towers, source, toy_data(41)[1], config, folder, device=CPU, **options)
    return towers


@pytest.mark.slow
def test_a_backbone_learns_from_augmented_tiles_in_micro_batches_and_resumes(tmp_path: Path) -> None:
    whole = run_tiles(TILES, tmp_path / "whole")
    config = replace(TILES, optim=replace(TILES.optim, epochs=13))
    unbroken = run_tiles(config, tmp_path / "unbroken")

    def kill(_stage: str, done: int, _total: int) -> None:
        if done == 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_tiles(config, tmp_path / "broken", progress=kill)
    resumed = run_tiles(config, tmp_path / "broken", resume=True)
    assert same(resumed, unbroken)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    start = tile_towers(TILES, norm=True).image.backbone.state_dict()
    moved = {k for k, v in whole.image.backbone.state_dict().items() if not torch.equal(v, start[k])}
    assert moved == {"conv.weight", "conv.bias", *(f"norm.{k}" for k in NORM)}
    jitter_off = replace(TILES, augment=AugmentConfig())
    assert not same(run_tiles(jitter_off, tmp_path / "plain"), whole)


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


@pytest.mark.slow
def test_weights_and_moments_are_channels_last_after_a_resume_too(tmp_path: Path) -> None:
    """The fused optimiser wants a parameter and its moments laid out alike; a file keeps no layout."""
    towers = run_tiles(TILES, tmp_path)
    weight = towers.image.backbone.conv.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    model = nn.ModuleDict({"towers": towers.modules(), "loss": nn.Module()})
    model["loss"].register_parameter("log_scale", nn.Parameter(torch.zeros(())))
    for fused in (False, True):
        optimiser = torch.optim.AdamW(model.parameters(), fused=fused)
        load_checkpoint(tmp_path / CHECKPOINT, model, optimiser)
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert {t.stride() for t in optimiser.state[weight].values() if t.ndim} == {weight.stride()}
        model.zero_grad()
        weight.square().sum().backward()
        optimiser.step()


@pytest.mark.slow
def test_the_towers_may_be_compiled(toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced for real; only the code generation, which takes minutes, is left out."""
    used: list[Any] = []
    compiler = torch.compile

    def traced(module: nn.Module) -> Any:
        used.append(module)
        return compiler(module, backend="eager")

    monkeypatch.setattr(torch, "compile", traced)
    config = replace(CONFIG, model=replace(CONFIG.model, dropout=0.0), optim=replace(CONFIG.optim, epochs=2))
    plain = run(toy, config, tmp_path / "plain")
    assert used == []
    compiled = run(toy, replace(config, optim=replace(config.optim, compile=True)), tmp_path / "compiled")
    assert len(used) == 1
    for name, value in plain.modules().state_dict().items():
        torch.testing.assert_close(compiled.modules().state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert set(load_names(tmp_path / "compiled")) == set(load_names(tmp_path / "plain"))


def load_names(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / CHECKPOINT, framework="pt") as file:
        return list(file.keys())


def test_validation_that_is_asked_for_and_not_given_is_refused(toy: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"validation\.by = spots: no spots are held back here; set it to none"):
        run(toy, replace(CONFIG, validation=ValidationConfig(by="spots")), tmp_path)


# --- fetching ahead


def test_batches_are_fetched_in_order_and_ahead_of_their_use_but_not_far() -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item * 10

    steps = ahead(make, range(20), depth=2)
    for expected in range(20):
        assert next(steps) == expected * 10
        assert len(made) <= expected + 1 + 2 + 1  # the one in work, two that wait, one that was just asked for
    assert list(steps) == []
    assert made == list(range(20))


def test_the_fetching_thread_works_while_the_step_does() -> None:
    """The next batch is made before the caller asks for it."""
    made = [threading.Event() for _ in range(4)]
    steps = ahead(lambda i: made[i].set(), range(4), depth=2)
    next(steps)
    assert made[1].wait(timeout=30)
    assert made[2].wait(timeout=30)
    assert not made[3].is_set()
    steps.close()


def test_an_error_of_fetching_comes_out_and_no_thread_is_left() -> None:
    def make(item: int) -> int:
        if item == 3:
            raise ValueError("tile 3 is gone")
        return item

    before = threading.active_count()
    steps = ahead(make, range(10))
    assert [next(steps) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="tile 3 is gone"):
        next(steps)
    early = ahead(make, range(3))
    assert next(early) == 0
    early.close()
    assert threading.active_count() == before
