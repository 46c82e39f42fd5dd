"""HisToGene: the published size, places on real arrays, what it learns from a colour, and who sees whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bleep_cli.types import F64
from bleep_train.config.schema import Config, DataConfig
from bleep_train.methods.folds import CohortFold, Study
from bleep_train.methods.histogene import HisToGene, HisToGeneOptions, array_places, predict_histogene, small_tiles
from bleep_train.methods.simple import mean_predictor
from bleep_train.metrics.per_gene import mse, pearson

SMALL = replace(HisToGeneOptions.cpu(), px=4, dim=32, layers=2, heads=2, epochs=40, lr=3e-3)


@pytest.fixture(scope="module")
def data(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> CohortFold:
    """The made-up world's third section held out: a tile's colour sets its expression, its place does not."""
    folder = tmp_path_factory.mktemp("histogene")
    cohort = write_cohort(folder / "cohort", ("st", "st", "st"))
    study = Study(cohort, Config(data=DataConfig(tile_um=(64.0, 128.0), tile_px=16)), folder / "cache")
    return study.data(study.folds("section", ["S2"])[0])


def test_the_defaults_are_the_published_settings() -> None:
    """Methods of the paper, and what the tutorial of the published code says of its network for 785 genes."""
    published = HisToGeneOptions()
    assert (published.px, published.dim, published.layers, published.heads) == (112, 1024, 8, 16)
    assert (published.positions, published.mlp_ratio, published.dropout) == (64, 2, 0.1)
    assert (published.lr, published.epochs, published.weight_decay, published.views) == (1e-5, 100, 0, 1)
    assert (published.standardise, published.from_mean, published.anneal) == (False, False, False)
    assert published.place_std == 1
    with torch.device("meta"):
        model = HisToGene(785, published)
    millions = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in model.named_children()}
    assert millions["patch"] == pytest.approx(38.5, abs=0.05)
    assert millions["blocks"] == pytest.approx(67.2, abs=0.05)
    assert millions["head"] == pytest.approx(0.806, abs=0.001)


# --- places


def square(columns: int, rows: int) -> tuple[Any, F64]:
    """Array places i64[n, 2] and centres f64[n, 2] of a square grid, 145 px apart, jittered by up to 14 px."""
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=2).reshape(-1, 2)
    jitter = np.random.default_rng(0).uniform(-14, 14, place.shape)
    return place, 1000 + 145.0 * place + jitter


def hexagons(columns: int, rows: int) -> tuple[Any, F64]:
    """Every other row shifted by half a spot, rows √3/2 apart: places (column, row) and centres."""
    place = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=2).reshape(-1, 2)
    centre = 328.8 * np.stack([place[:, 0] + 0.5 * (place[:, 1] % 2), place[:, 1] * np.sqrt(3) / 2], axis=1)
    return place, 500 + centre + np.random.default_rng(1).uniform(-20, 20, place.shape)


@pytest.mark.parametrize("grid", [square(9, 5), square(31, 12), hexagons(9, 5), hexagons(40, 60)])
def test_places_are_the_array_coordinates(grid: tuple[Any, F64]) -> None:
    place, centre = grid
    np.testing.assert_array_equal(array_places(centre, 64), place)
    np.testing.assert_array_equal(array_places(centre[:, ::-1], 64), place[:, ::-1])  # a slide lying on its side


def test_places_do_not_mind_order_holes_and_a_slight_turn() -> None:
    place, centre = hexagons(20, 14)
    kept = np.random.default_rng(2).permutation(len(place))[: int(0.6 * len(place))]
    angle = np.deg2rad(0.4)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    found = array_places(centre[kept] @ turn.T, 64)
    np.testing.assert_array_equal(found, place[kept] - place[kept].min(axis=0))


def test_places_beyond_the_last_share_it() -> None:
    place, centre = square(12, 5)
    np.testing.assert_array_equal(array_places(centre, 8), np.minimum(place, 7))


def test_places_of_one_spot_and_of_one_row() -> None:
    assert array_places(np.array([[5.0, 9.0]]), 64).tolist() == [[0, 0]]
    assert array_places(np.array([[40.0, 9.0], [10.0, 9.0], [20.0, 9.0]]), 64).tolist() == [[3, 0], [0, 0], [1, 0]]


# --- tiles


def test_small_tiles_are_the_middle_of_the_first_field() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 6), np.uint8)
    whole = small_tiles(tiles, replace(HisToGeneOptions(), px=8)).numpy()
    np.testing.assert_array_equal(whole, np.moveaxis(tiles[:, 4:12, 4:12, :3], 3, 1))
    halved = small_tiles(tiles, replace(HisToGeneOptions(), px=4)).numpy()
    np.testing.assert_allclose(halved, whole.reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5)), rtol=1e-6)


# --- learning


@pytest.mark.slow
def test_it_learns_a_colour(data: CohortFold, tmp_path: Path) -> None:
    predicted = predict_histogene(data, 0, tmp_path, SMALL)
    assert pearson(predicted, data.test_y).min() > 0.5
    mean = mean_predictor(data.train_y, len(predicted))
    assert mse(predicted, data.test_y).mean() < 0.6 * mse(mean, data.test_y).mean()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(SMALL.epochs))
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]


@pytest.mark.slow
def test_the_published_recipe_learns_it_too(data: CohortFold, tmp_path: Path) -> None:
    """Raw pixels, upright tiles, a constant rate: the published way with a smaller network and a higher rate."""
    options = replace(HisToGeneOptions(), px=4, dim=32, layers=2, heads=2, epochs=60, lr=1e-3)
    predicted = predict_histogene(data, 0, tmp_path, options)
    assert pearson(predicted, data.test_y).mean() > 0.5


def test_it_may_start_at_the_training_mean(data: CohortFold, tmp_path: Path) -> None:
    expected = mean_predictor(data.train_y, len(data.test_y))
    predicted = predict_histogene(data, 0, tmp_path, replace(SMALL, epochs=0))
    np.testing.assert_allclose(predicted, expected, atol=1e-5)


@pytest.mark.slow
def test_a_seed_repeats_and_the_second_field_and_the_truth_are_not_seen(data: CohortFold, tmp_path: Path) -> None:
    options = replace(SMALL, epochs=2)
    first = predict_histogene(data, 3, tmp_path / "a", options)
    assert not np.array_equal(first, predict_histogene(data, 4, tmp_path / "b", options))
    np.testing.assert_array_equal(predict_histogene(_blinded(data), 3, tmp_path / "c", options), first)


def _blinded(data: CohortFold) -> Any:
    """The same fold without its truth, and with noise in the second field of view."""
    rng = np.random.default_rng(0)

    def tiles(which: Any) -> Any:
        noise = [rng.integers(0, 256, t[..., 3:].shape, np.uint8) for t in data.tiles(which)]
        return [np.concatenate([t[..., :3], n], axis=3) for t, n in zip(data.tiles(which), noise, strict=True)]

    return SimpleNamespace(
        study=data.study, symbols=data.symbols, train_y=data.train_y, sections=data.sections, tiles=tiles
    )


def test_the_spots_of_a_section_see_each_other_and_their_places() -> None:
    torch.manual_seed(0)
    model = HisToGene(3, SMALL).eval()
    tiles, places = torch.randn(5, 3, 4, 4), torch.arange(10).view(5, 2)
    with torch.inference_mode():
        alone = model(tiles, places)
        assert alone.shape == (5, 3)
        other = tiles.clone()
        other[4] = -other[4]
        moved = places.clone()
        moved[4] = torch.tensor([40, 3])
        for changed in (model(other, places), model(tiles, moved)):
            assert ((changed - alone).abs().amax(dim=1) > 1e-5).all()
        order = torch.tensor([3, 0, 4, 1, 2])
        torch.testing.assert_close(model(tiles[order], places[order]), alone[order])
