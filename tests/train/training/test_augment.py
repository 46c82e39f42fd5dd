"""Stain jitter: the deconvolution is the published one, nothing moves at σ = 0, and each tile has one draw."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage.color import hed2rgb, rgb2hed

from bleep_train.config.schema import AugmentConfig, Config, OptimConfig
from bleep_train.training.augment import restained, separated, stain_draws, stain_matrix, stained
from bleep_train.training.batches import epoch_batches
from bleep_train.training.distributed import Group
from bleep_train.training.source import TileSource

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def tissue() -> torch.Tensor:
    """f32[4, 3, 6, 6]: mixtures of haematoxylin, eosin and a little DAB, as the optical densities say."""
    density = torch.rand(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))
    return stained(density * torch.tensor([0.8, 0.5, 0.1])[:, None, None])


def test_separation_finds_what_was_mixed(tissue: torch.Tensor) -> None:
    density = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(1)) * 0.7
    torch.testing.assert_close(separated(stained(density)), density, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(stained(separated(tissue)), tissue, rtol=1e-5, atol=1e-6)
    only = torch.zeros(3, 3, 1, 1)
    only[range(3), range(3)] = 1  # one stain each, at density 1
    colours = -stained(only)[:, :, 0, 0].log10()
    published = torch.tensor([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    torch.testing.assert_close(colours, published, rtol=0.01, atol=0.003)  # unit vectors of OD, as printed there
    torch.testing.assert_close(stain_matrix(CPU).norm(dim=1), torch.ones(3))


def test_separation_agrees_with_scikit_image(tissue: torch.Tensor) -> None:
    """Its densities are in natural logarithms over ln(1e-6), and its stain vectors are not of unit length."""
    theirs = rgb2hed(tissue.permute(0, 2, 3, 1).numpy().astype(np.float64))
    raw = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
    scaled = theirs * 6 * np.linalg.norm(raw, axis=1)  # -log10(1e-6) = 6
    ours = separated(tissue).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ours.clip(min=0), scaled, atol=1e-4)  # theirs is clipped at 0
    back = hed2rgb(np.maximum(theirs, 0))
    np.testing.assert_allclose(tissue.permute(0, 2, 3, 1).numpy(), back, atol=5e-3)


def test_no_jitter_changes_nothing_and_jitter_changes_stains_not_glass(tissue: torch.Tensor) -> None:
    still = torch.tensor([[1.0, 1, 1], [0, 0, 0]]).expand(4, 2, 3)
    torch.testing.assert_close(restained(tissue, still), tissue, rtol=1e-5, atol=1e-6)
    more = still.clone()
    more[:, 0, 0] = 1.2  # a fifth more haematoxylin
    before, after = separated(tissue), separated(restained(tissue, more))
    torch.testing.assert_close(after[:, 0], 1.2 * before[:, 0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=1e-3, atol=1e-4)
    glass = torch.ones(4, 3, 6, 6)
    torch.testing.assert_close(restained(glass, more), glass)
    shifted = still.clone()
    shifted[:, 1] = 0.1
    torch.testing.assert_close(separated(restained(tissue, shifted)), before + 0.1, rtol=1e-3, atol=1e-4)


def test_all_fields_of_a_tile_have_one_draw_and_tiles_have_their_own(tissue: torch.Tensor) -> None:
    draws = torch.from_numpy(stain_draws(4, 0.2, np.random.default_rng(0)))
    both = restained(torch.cat([tissue, tissue.flip(3)], dim=1), draws)
    torch.testing.assert_close(both[:, 3:], both[:, :3].flip(3))
    same_tile = restained(tissue[:1].expand(4, -1, -1, -1), draws)
    assert all((same_tile[0] - other).abs().max() > 0.01 for other in same_tile[1:])
    black = torch.zeros(4, 3, 2, 2)
    assert restained(black, draws).isfinite().all()


def test_draws_are_uniform_within_sigma() -> None:
    draws = stain_draws(4000, 0.1, np.random.default_rng(0))
    factor, offset = draws[:, 0], draws[:, 1]
    for values, centre in ((factor, 1.0), (offset, 0.0)):
        assert centre - 0.1 <= values.min() < centre - 0.09
        assert centre + 0.09 < values.max() <= centre + 0.1
        np.testing.assert_allclose(values.mean(axis=0), centre, atol=0.005)


def test_jitter_is_of_seed_and_epoch_and_the_same_however_a_batch_is_shared() -> None:
    config = Config(optim=OptimConfig(batch_size=16, seed=3), augment=AugmentConfig(stain_jitter=0.1))
    batch, again, later = (epoch_batches(50, config, epoch)[1] for epoch in (2, 2, 3))
    assert batch.stain is not None
    assert again.stain is not None
    assert later.stain is not None
    np.testing.assert_array_equal(batch.stain, again.stain)
    assert not np.array_equal(batch.stain, later.stain)
    shares = [batch.share(Group(rank, 3)).stain for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate([s for s in shares if s is not None]), batch.stain)
    plain = epoch_batches(50, replace(config, augment=AugmentConfig()), 2)[1]
    assert plain.stain is None
    np.testing.assert_array_equal(plain.rows, batch.rows)  # the jitter's numbers are drawn apart
    np.testing.assert_array_equal(plain.views, batch.views)


def test_tile_source_turns_and_stains() -> None:
    tiles = np.random.default_rng(0).integers(60, 250, (3, 8, 8, 6), dtype=np.uint8)
    source, views = TileSource([tiles], CPU), np.array([0, 3, 5])
    draws = stain_draws(3, 0.1, np.random.default_rng(1))
    fetched = source.fetch(np.array([2, 0, 1]))
    plain, jittered = source.prepare(fetched, views), source.prepare(fetched, views, draws)
    torch.testing.assert_close(jittered, restained(plain, torch.from_numpy(draws)))
    assert (jittered - plain).abs().mean() > 0.01
    assert jittered.is_contiguous(memory_format=torch.channels_last)
    assert fetched.dtype == torch.uint8
