"""Gradient caching: embedded chunk by chunk, the batch is still whole; loss and gradients are the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from toy import CPU, PANEL, head_towers, tile_towers, toy_data, toy_tiles

from bleep_train.config.schema import Config, LossConfig, ModelConfig
from bleep_train.model.loss import ContrastiveLoss
from bleep_train.model.towers import Towers
from bleep_train.training.gradcache import Pair, backward, chunks_of, still_statistics
from bleep_train.training.source import FeatureSource, ImageSource, TileSource

N = 11


class Case:
    """One batch of the toy cohort through a pair of towers."""

    def __init__(self, loss: Any, dropout: float, *, tiles: bool = False, norm: bool = False) -> None:
        config = Config(model=ModelConfig(dim=8, dropout=dropout), loss=LossConfig(name=loss, temperature=1.0))
        features, panel = toy_data(N)
        self.towers: Towers = tile_towers(config, norm=norm) if tiles else head_towers(config)
        self.source: ImageSource = TileSource([toy_tiles(N)], CPU) if tiles else FeatureSource([features], CPU)
        self.objective = ContrastiveLoss(config.loss)
        self.pair = Pair(self.towers, self.source, CPU).train()
        self.panel = torch.from_numpy(panel)
        self.targets = torch.nn.functional.normalize(self.panel[:, :4] - self.panel[:, :4].mean(dim=0), dim=1)
        self.fetched = self.source.fetch(np.arange(N))
        self.asked = 0

    def inputs(self, chunk: slice) -> tuple[Tensor, Tensor]:
        self.asked += 1
        return self.source.prepare(self.fetched[chunk], np.arange(N)[chunk] % 8), self.panel[chunk]

    def loss_of(self, image: Tensor, spots: Tensor) -> tuple[Tensor, Tensor]:
        assert len(image) == len(spots) == N  # whole, whatever the chunks
        return self.objective(image, spots, self.targets), image

    def gradients(self, chunks: Sequence[slice]) -> tuple[float, dict[str, Tensor]]:
        self.pair.zero_grad()
        self.objective.zero_grad()
        torch.manual_seed(7)
        loss, _ = backward(self.pair, self.inputs, chunks, self.loss_of, CPU)
        return float(loss), self.collected()

    def collected(self) -> dict[str, Tensor]:
        parameters = [*self.pair.named_parameters(), *self.objective.named_parameters()]
        return {name: p.grad.clone() for name, p in parameters if p.grad is not None}

    def without_cache(self, chunks: Sequence[slice]) -> tuple[float, dict[str, Tensor]]:
        """The same chunks and dropout, all graphs kept: what the cache must equal."""
        self.pair.zero_grad()
        self.objective.zero_grad()
        torch.manual_seed(7)
        parts = [self.pair(*self.inputs(chunk)) for chunk in chunks]
        loss, _ = self.loss_of(*(torch.cat(side) for side in zip(*parts, strict=True)))
        loss.backward()
        return float(loss.detach()), self.collected()


def close(mine: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]) -> None:
    assert mine[0] == pytest.approx(other[0], rel=1e-5)
    assert mine[1].keys() == other[1].keys()
    for name, gradient in mine[1].items():
        torch.testing.assert_close(gradient, other[1][name], rtol=1e-4, atol=1e-6, msg=name)
        assert gradient.abs().max() > 0, name


@pytest.mark.parametrize("loss", ["paper", "mixed", "unit", "clip"])
@pytest.mark.parametrize("tiles", [False, True])
def test_chunks_have_the_gradients_of_the_whole_batch(loss: str, tiles: bool) -> None:
    case = Case(loss, dropout=0.0, tiles=tiles)
    whole = case.gradients(chunks_of(N, [N], 0))
    assert len(whole[1]) >= 12
    for micro in (1, 4, 10):
        close(case.gradients(chunks_of(N, [N], micro)), whole)


@pytest.mark.parametrize("loss", ["paper", "mixed"])
@pytest.mark.parametrize("tiles", [False, True])
def test_dropout_is_the_same_in_both_passes(loss: str, tiles: bool) -> None:
    case = Case(loss, dropout=0.5, tiles=tiles)
    for micro in (3, 6):
        chunks = chunks_of(N, [N], micro)
        close(case.gradients(chunks), case.without_cache(chunks))
    one = chunks_of(N, [N], N)
    close(case.gradients(one), case.gradients(chunks_of(N, [N], 0)))  # one chunk is no cache at all


def test_dropout_that_is_drawn_anew_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    case, chunks = Case("mixed", dropout=0.5), chunks_of(N, [N], 3)
    expected = case.without_cache(chunks)[1]
    monkeypatch.setattr("bleep_train.training.gradcache.RandomState.restore", lambda _self: None)
    wrong = case.gradients(chunks)[1]
    assert any((wrong[name] - expected[name]).abs().max() > 1e-3 for name in expected)


def test_memory_is_that_of_a_chunk() -> None:
    """Each chunk is prepared for each pass, none is kept, and a graph never spans more than one."""
    case = Case("mixed", dropout=0.1)
    sizes: list[tuple[int, bool]] = []
    case.pair.register_forward_hook(lambda _m, _i, out: sizes.append((len(out[0]), out[0].requires_grad)))
    case.gradients(chunks_of(N, [N], 4))
    assert sizes == [(4, False), (4, False), (3, False), (4, True), (4, True), (3, True)]
    assert case.asked == 6


def test_running_statistics_are_updated_once_per_chunk() -> None:
    case, chunks = Case("mixed", dropout=0.0, tiles=True, norm=True), chunks_of(N, [N], 4)
    norm: Any = case.towers.image.backbone.norm
    start = norm.running_mean.clone()
    close(case.gradients(chunks), case.without_cache(chunks))
    norm.running_mean.copy_(start)
    norm.num_batches_tracked.zero_()
    case.gradients(chunks)
    cached, counted = norm.running_mean.clone(), int(norm.num_batches_tracked)
    norm.running_mean.copy_(start)
    norm.num_batches_tracked.zero_()
    case.without_cache(chunks)
    torch.testing.assert_close(cached, norm.running_mean)
    assert counted == int(norm.num_batches_tracked) == 3
    norm.eval()
    with still_statistics(case.pair):
        assert norm.track_running_stats  # a frozen norm keeps using what it knows
    assert case.panel.shape == (N, PANEL)


def test_chunks_cover_the_share_and_are_as_many_on_every_rank() -> None:
    assert chunks_of(10, [10], 0) == [slice(0, 10)]
    assert chunks_of(10, [10], 16) == [slice(0, 10)]
    assert chunks_of(10, [10], 4) == [slice(0, 4), slice(4, 7), slice(7, 10)]
    for shares in ([5, 4, 4], [2, 1], [1, 1], [33, 32, 32, 32]):
        for micro in (1, 2, 3, 32):
            chunks = [chunks_of(share, shares, micro) for share in shares]
            assert len({len(c) for c in chunks}) == 1
            for share, parts in zip(shares, chunks, strict=True):
                assert np.concatenate([np.arange(share)[c] for c in parts]).tolist() == list(range(share))
                assert all(c.stop > c.start for c in parts)
