"""What tiles look like: by the graph of a tower as by NumPy, whitened, and the same whichever way a tile lies."""

from __future__ import annotations

import numpy as np
import pytest
from made_looks import FEATURES, looks_head

from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.graphs import image_tower
from bleep_cli.fitting.looks import fit_looks, stain_of
from bleep_cli.towers.encoder import OnnxEncoder, embed_views, see_views

PX = 16


@pytest.fixture
def tiles() -> np.ndarray:
    """u8[7, 16, 16, 6]: two fields."""
    return np.random.default_rng(1).integers(0, 256, (7, PX, PX, 6), np.uint8)


@pytest.mark.parametrize("views", [1, 8])
def test_the_tower_tells_them_beside_the_embedding(make_towers, tiles: np.ndarray, views: int) -> None:
    backbone, rng = make_towers(PX)[0], np.random.default_rng(3)
    head = LinearHead(np.zeros(16, np.float32), rng.normal(size=(16, 5)).astype(np.float32))
    plain = OnnxEncoder(image_tower(backbone, PX, 2, head), "cpu")
    tower = OnnxEncoder(image_tower(backbone, PX, 2, head, looks_head(8)), "cpu")
    assert (plain.looks, tower.looks, tower.dim) == (0, FEATURES + STAIN, 5)
    vectors, looks = see_views(tower, tiles, views)
    np.testing.assert_allclose(vectors, embed_views(plain, tiles, views), atol=1e-6)
    np.testing.assert_allclose(tower.embed(tiles), plain.embed(tiles), atol=1e-6)
    smallest = tiles[..., :3]
    seen = OnnxEncoder(backbone, "cpu").embed(np.ascontiguousarray(smallest))
    wanted = looks_head(8)(seen, stain_of(tiles))  # of the tile as it is, however many views are embedded
    np.testing.assert_allclose(looks, wanted, atol=2e-5)


def test_stain_is_the_optical_density_of_the_smallest_field(tiles: np.ndarray) -> None:
    flat = np.full((1, 4, 4, 6), 127, np.uint8)
    np.testing.assert_allclose(stain_of(flat), [[np.log(2)] * 3 + [0] * 3], atol=1e-6)
    found = stain_of(tiles)
    density = -np.log((tiles[..., 1].astype(float) + 1) / 256)
    np.testing.assert_allclose(found[:, 1], density.mean(axis=(1, 2)), rtol=1e-5)
    np.testing.assert_allclose(found[:, 4], density.std(axis=(1, 2)), rtol=1e-4)
    np.testing.assert_allclose(stain_of(np.rot90(tiles, axes=(1, 2))), found, rtol=1e-5)


def test_every_component_is_of_unit_variance() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 12)) @ np.diag(np.geomspace(1, 100, 12)) + 7
    stain = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6))
    head = fit_looks(features.astype(np.float32), np.full(12, 0.5, np.float32), stain.astype(np.float32))
    looks = head(features.astype(np.float32), stain.astype(np.float32))
    assert looks.shape == (400, 12 + STAIN)
    np.testing.assert_allclose(np.cov(looks[:, :12].T, bias=True), np.eye(12), atol=2e-2)
    np.testing.assert_allclose(np.cov(looks[:, 12:].T, bias=True), np.eye(6), atol=2e-2)


def test_half_of_the_components_are_of_the_fine_columns_alone() -> None:
    rng = np.random.default_rng(2)
    features = (rng.normal(size=(400, 12)) @ np.diag(np.geomspace(100, 1, 12)) + 7).astype(np.float32)
    stain = rng.normal(size=(400, 6)).astype(np.float32)
    fine = slice(8, 11)
    head = fit_looks(features, np.full(12, 0.5, np.float32), stain, fine)
    looks = head(features, stain)
    assert looks.shape == (400, 12 + 3 + STAIN)  # of 64 each, as many as there are
    np.testing.assert_allclose(np.cov(looks[:, 12:15].T, bias=True), np.eye(3), atol=2e-2)
    moved = features.copy()
    moved[:, [0, 11]] += 50
    np.testing.assert_allclose(head(moved, stain)[:, 12:], looks[:, 12:], atol=1e-4)
    moved[:, 9] += 50
    assert np.abs(head(moved, stain)[:, 12:15] - looks[:, 12:15]).max() > 1


def test_few_tiles_have_few_components_and_stain_keeps_its_place() -> None:
    rng = np.random.default_rng(0)
    features, stain = rng.normal(size=(40, 30)).astype(np.float32), np.ones((40, 6), np.float32)
    head = fit_looks(features, np.ones(30, np.float32), stain)
    assert head.dim == 10 + STAIN
    assert not head(features, stain)[:, 10:].any()
