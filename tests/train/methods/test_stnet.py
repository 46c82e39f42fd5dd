"""ST-Net: the published settings and start, what it learns from a colour, and that it sees no more than it may."""

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

from bleep_train.backbones.build import build_backbone
from bleep_train.config.schema import Config, DataConfig
from bleep_train.methods.folds import CohortFold, Study
from bleep_train.methods.simple import mean_predictor
from bleep_train.methods.stnet import LateStages, StNetOptions, largest_means, predict_stnet
from bleep_train.methods.stnet_inputs import EarlyStages, MapInputs, TileInputs
from bleep_train.metrics.per_gene import mse, pearson
from bleep_train.training.augment import turned

CPU = torch.device("cpu")
SMALL = replace(StNetOptions.cpu(), px=32, epochs=3, lr=2e-3)
WHOLE = replace(StNetOptions(), backbone="efficientnet-lite0", px=32, epochs=3, lr=2e-4)


@pytest.fixture(scope="module")
def data(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> CohortFold:
    """The made-up world's third section held out: a tile's colour sets its expression, its place does not."""
    folder = tmp_path_factory.mktemp("stnet")
    cohort = write_cohort(folder / "cohort", ("st", "st", "st"))
    study = Study(cohort, Config(data=DataConfig(tile_um=(64.0, 128.0), tile_px=16)), folder / "cache")
    found = study.data(study.folds("section", ["S2"])[0])
    assert found.tiles("test")[0].shape[1:] == (16, 16, 6)
    return found


def test_the_defaults_are_the_published_settings() -> None:
    """Methods of the paper and the commands of the published code."""
    published = StNetOptions()
    assert (published.backbone, published.weights, published.px) == ("densenet121", "imagenet", 224)
    assert (published.genes, published.first_trained, published.own_colours) == (None, 0, True)  # genes: all
    assert (published.optimiser, published.lr, published.momentum) == ("sgd", 1e-6, 0.9)
    assert (published.batch_size, published.epochs, published.weight_decay) == (32, 50, 0)
    assert published.dropout == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [SMALL, WHOLE], ids=["cpu", "whole"])
def test_before_the_first_step_it_predicts_the_training_mean(
    data: CohortFold, tmp_path: Path, options: StNetOptions
) -> None:
    predicted = predict_stnet(data, 0, tmp_path, replace(options, epochs=0, genes=None))
    np.testing.assert_allclose(predicted, mean_predictor(data.train_y, len(data.test_y)), atol=1e-5)


@pytest.mark.slow
def test_only_the_genes_of_largest_mean_are_predicted(data: CohortFold, tmp_path: Path) -> None:
    predicted = predict_stnet(data, 0, tmp_path, replace(SMALL, epochs=0, genes=5))
    columns = np.flatnonzero(~np.isnan(predicted).any(axis=0))
    assert len(columns) == 5
    assert np.isnan(np.delete(predicted, columns, axis=1)).all()
    means = data.train_y.mean(axis=0)
    assert means[columns].min() > np.delete(means, columns).max()


def test_largest_means_by_hand() -> None:
    expression = np.array([[1, 5, 2, 5, 0], [3, 5, 0, 5, 0]], np.float32)  # means 2 5 1 5 0
    assert largest_means(expression, 1).tolist() == [1]
    assert largest_means(expression, 3).tolist() == [0, 1, 3]
    assert largest_means(expression, None).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("options", [SMALL, WHOLE], ids=["cpu", "whole"])
def test_it_learns_a_colour(data: CohortFold, tmp_path: Path, options: StNetOptions) -> None:
    predicted = predict_stnet(data, 0, tmp_path, replace(options, genes=None))
    assert pearson(predicted, data.test_y).mean() > 0.5
    mean = mean_predictor(data.train_y, len(predicted))
    assert mse(predicted, data.test_y).mean() < 0.95 * mse(mean, data.test_y).mean()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]


@pytest.mark.slow
def test_densenet_is_trained_whole(data: CohortFold, tmp_path: Path) -> None:
    """Three spots a section, random weights: every prediction moves away from the mean, and none is lost."""
    starts = np.flatnonzero(np.r_[True, np.diff(data.groups) > 0])
    few: Any = SimpleNamespace(
        study=data.study,
        symbols=data.symbols,
        train_y=data.train_y[(starts[:, None] + np.arange(3)).ravel()],
        tiles=lambda which: [tiles[:3] for tiles in data.tiles(which)],
        sections=lambda which: [replace(s, barcodes=s.barcodes[:3]) for s in data.sections(which)],
    )
    options = replace(StNetOptions(), weights="random", px=32, epochs=1, lr=1e-2)
    predicted = predict_stnet(few, 0, tmp_path, options)
    assert predicted.shape == (3, len(data.symbols))
    assert np.isfinite(predicted).all()
    assert (np.abs(predicted - few.train_y.mean(axis=0)) > 1e-6).all()


@pytest.mark.slow
def test_a_seed_repeats_and_the_second_field_and_the_truth_are_not_seen(data: CohortFold, tmp_path: Path) -> None:
    options = replace(SMALL, epochs=1)
    first = predict_stnet(data, 3, tmp_path / "a", options)
    assert not np.array_equal(first, predict_stnet(data, 4, tmp_path / "b", options))
    np.testing.assert_array_equal(predict_stnet(_blinded(data, tmp_path), 3, tmp_path / "c", options), first)


def _blinded(data: CohortFold, cache: Path) -> Any:
    """The same fold with another cache, without its truth, and with noise in the second field of view."""
    study = SimpleNamespace(cache=cache, config=data.study.config, progress=data.study.progress)
    rng = np.random.default_rng(0)

    def tiles(which: Any) -> Any:
        noise = [rng.integers(0, 256, t[..., 3:].shape, np.uint8) for t in data.tiles(which)]
        return [np.concatenate([t[..., :3], n], axis=3) for t, n in zip(data.tiles(which), noise, strict=True)]

    return SimpleNamespace(
        study=study, symbols=data.symbols, train_y=data.train_y, sections=data.sections, tiles=tiles
    )


@pytest.mark.slow
def test_the_kept_maps_and_the_late_stages_are_the_backbone(data: CohortFold, tmp_path: Path) -> None:
    """What is trained on kept maps starts as the pretrained network, view by view."""
    backbone = build_backbone("efficientnet-lite0", "imagenet").eval()
    tiles = torch.rand(8, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for start in (1, 4, 6):
        with torch.inference_mode():
            parts = LateStages(backbone, start).eval()(EarlyStages(backbone, start).eval()(tiles))
            torch.testing.assert_close(parts, backbone(tiles))


def test_inputs_find_spots_over_section_borders() -> None:
    rng = np.random.default_rng(0)
    tiles = [rng.integers(0, 256, (n, 8, 8, 6), np.uint8) for n in (2, 3)]
    rows, views = np.array([4, 1, 2]), np.array([5, 0, 3])
    found = TileInputs(tiles, 8, CPU)(rows, views)
    expected = torch.from_numpy(np.stack([tiles[1][2], tiles[0][1], tiles[1][0]])[..., :3].copy())
    torch.testing.assert_close(found, turned(expected.permute(0, 3, 1, 2).float() / 255, views))
    halved = TileInputs(tiles, 4, CPU)(rows, np.zeros(3, np.int64))
    assert halved[0, 0, 0, 0] == pytest.approx(tiles[1][2][:2, :2, 0].mean() / 255)

    maps = [rng.normal(size=(n, 8, 2, 3, 3)).astype(np.float16) for n in (2, 3)]
    picked = MapInputs(maps, CPU)(rows, views).numpy()
    np.testing.assert_array_equal(picked, np.stack([maps[1][2, 5], maps[0][1, 0], maps[1][0, 3]]))
