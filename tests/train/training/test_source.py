"""Batches of the image side: cached features and whole tiles give the same vectors, view by view."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from bleep_cli.towers.encoder import ALL_VIEWS, views_of
from bleep_cli.types import F32, U8
from bleep_train.config.schema import ModelConfig
from bleep_train.model.towers import ImageTower, build_towers
from bleep_train.training.augment import turned
from bleep_train.training.frozen import FeatureExtractor
from bleep_train.training.source import FeatureSource, TileSource

CPU = torch.device("cpu")
PX = 64


@pytest.fixture(scope="module")
def tiles() -> U8:
    """u8[6, 64, 64, 6]: smooth noise in two fields of view, different in every corner."""
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 6), dtype=np.uint8)
    return coarse.repeat(PX // 8, axis=1).repeat(PX // 8, axis=2)


@pytest.fixture(scope="module")
def tower() -> ImageTower:
    torch.manual_seed(5)
    config = ModelConfig(backbone="resnet18", weights="random", trainable="frozen", dim=16)
    return build_towers(config, fields=2, panel=3).image.eval()


@pytest.fixture(scope="module")
def features(tiles: U8, tower: ImageTower) -> F32:
    """f32[6, 8, 1024] as they are cached: through ONNX Runtime."""
    return FeatureExtractor(tower.backbone, PX, CPU).views(tiles)


def chw(tiles: U8) -> torch.Tensor:
    return torch.from_numpy(tiles.copy()).permute(0, 3, 1, 2).float() / 255


def test_turned_follows_the_runtimes_order_of_views(tiles: U8) -> None:
    every = list(views_of(tiles, ALL_VIEWS))
    assert len({view.tobytes() for view in every}) == ALL_VIEWS
    for view, expected in enumerate(every):
        got = turned(chw(tiles), np.full(len(tiles), view))
        torch.testing.assert_close(got, chw(expected), rtol=0, atol=0)


def test_turned_gives_each_tile_its_own_view(tiles: U8) -> None:
    views = np.array([7, 0, 3, 3, 5, 1])
    every = list(views_of(tiles, ALL_VIEWS))
    expected = np.stack([every[view][i] for i, view in enumerate(views)])
    torch.testing.assert_close(turned(chw(tiles), views), chw(expected), rtol=0, atol=0)


@pytest.mark.slow
def test_cached_features_equal_the_tower_on_turned_tiles(tiles: U8, tower: ImageTower, features: F32) -> None:
    assert features.shape == (6, ALL_VIEWS, 2 * 512)
    cached = FeatureSource([features[:2], features[2:]], CPU)  # two sections
    whole = TileSource([tiles[:2], tiles[2:]], CPU)
    rows = np.array([5, 0, 1, 2, 4, 3, 0, 2])
    with torch.inference_mode():
        for shift in range(ALL_VIEWS):
            views = (np.arange(ALL_VIEWS) + shift) % ALL_VIEWS
            expected = tower(turned(chw(tiles[rows]), views))
            torch.testing.assert_close(cached.embed(tower, rows, views), expected, rtol=0, atol=1e-5)
            torch.testing.assert_close(whole.embed(tower, rows, views), expected, rtol=0, atol=1e-5)
        assert float((expected[0] - expected[1]).abs().max()) > 1e-3  # the vectors do differ
        again = cached.embed(tower, rows, np.zeros(ALL_VIEWS, np.int64))
        assert float((again - expected).abs().max()) > 1e-3  # and so do the views


@pytest.mark.slow
def test_fit_takes_the_statistics_of_what_is_embedded(tiles: U8, tower: ImageTower, features: F32) -> None:
    tower = copy.deepcopy(tower)
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    FeatureSource([features], CPU).fit(tower)
    scale = tower.scale
    np.testing.assert_allclose(scale.mean.numpy(), flat.mean(axis=0), atol=1e-5)
    std = flat.std(axis=0, ddof=1)
    np.testing.assert_allclose(scale.std.numpy()[std > 1e-5], std[std > 1e-5], rtol=1e-3)
    TileSource([tiles[:2], tiles[2:]], CPU).fit(tower)
    np.testing.assert_allclose(scale.mean.numpy(), features[:, 0].mean(axis=0), atol=1e-5)


def test_gradients_reach_the_head_and_not_the_frozen_backbone(tiles: U8, tower: ImageTower) -> None:
    source = TileSource([tiles], CPU)
    source.embed(tower, np.arange(3), np.array([0, 4, 6])).sum().backward()
    assert tower.head.projection.weight.grad is not None
    assert all(p.grad is None for p in tower.backbone.parameters())
    tower.zero_grad()
