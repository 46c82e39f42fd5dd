"""Methods by name: what a study may ask for, and that each name is what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.errors import UsageError
from bleep_cli.fitting.choose import held_out_groups
from bleep_cli.types import F32
from bleep_train.backbones.protocol import BackboneError
from bleep_train.config.schema import Config, DataConfig
from bleep_train.methods import by_name as methods
from bleep_train.methods.by_name import find_method
from bleep_train.methods.folds import PARTS, CohortFold, Study
from bleep_train.methods.histogene import HisToGeneOptions
from bleep_train.methods.linear import cca, hest_ridge, pls, ridge, ridge_columns
from bleep_train.methods.simple import knn, mean_predictor
from bleep_train.methods.stnet import StNetOptions


@pytest.fixture(scope="module")
def data(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> CohortFold:
    folder = tmp_path_factory.mktemp("methods")
    cohort = write_cohort(folder / "cohort", ("st", "st", "st"))
    study = Study(cohort, Config(data=DataConfig(tile_um=(64.0,), tile_px=16)), folder / "cache")
    return study.data(study.folds("section", ["S2"])[0])


@pytest.fixture
def known(data: CohortFold, monkeypatch: pytest.MonkeyPatch) -> dict[str, F32]:
    """Mean colours in place of the backbone's features, f32[n, 3]."""
    colours = {
        which: np.concatenate([t.mean(axis=(1, 2), dtype=np.float32) for t in data.tiles(which)])
        for which in PARTS
    }
    monkeypatch.setattr(data, "mean_features", colours.__getitem__)
    monkeypatch.setattr(data, "blocks", lambda: ((2, 1),))
    return colours


def test_unknown_names_are_told_what_there_is() -> None:
    for name in ("rigde", "bleep:best", "histogene:random", "knn:3", ""):
        with pytest.raises(UsageError, match=rf"methods {name}: choose among bleep, .*st-net-cpu, .*knn"):
            find_method(name)


def test_untrained_methods_are_those_of_the_frozen_features(
    data: CohortFold, known: dict[str, F32], tmp_path: Path
) -> None:
    x, z = known["train"], known["test"]
    by, group = held_out_groups(data.sections("train"))
    assert by == "donor"
    scaled, asked = (side * np.array([2**-0.5, 2**-0.5, 1], np.float32) for side in (x, z))
    expected = {
        "ridge": ridge(scaled, data.train_y, asked, group, data.sets)[0],
        "ridge-columns": ridge_columns(x, data.train_y, z, data.groups, data.sets["all"])[0],
        "pls": pls(scaled, data.train_y, asked),
        "cca": cca(scaled, data.train_y, data.training.panel, asked, by, group, [3]),
        "hest-ridge": hest_ridge(x, data.train_y, z),
        "knn": knn(x, data.train_y, z, 50),
        "mean": mean_predictor(data.train_y, len(z)),
    }
    for name, prediction in expected.items():
        np.testing.assert_array_equal(find_method(name)(data, 0, tmp_path), prediction)


@pytest.mark.parametrize(
    ("name", "called", "options"),
    [
        ("st-net", "predict_stnet", StNetOptions()),
        ("st-net-250", "predict_stnet", StNetOptions(genes=250)),
        ("st-net:random", "predict_stnet", StNetOptions(weights="random")),
        ("st-net:some/densenet121.pth", "predict_stnet", StNetOptions(weights="some/densenet121.pth")),
        ("st-net-cpu", "predict_stnet", StNetOptions.cpu()),
        ("histogene", "predict_histogene", HisToGeneOptions()),
        ("histogene-cpu", "predict_histogene", HisToGeneOptions.cpu()),
    ],
)
def test_a_name_is_its_settings(
    data: CohortFold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, called: str, options: Any
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(methods, called, lambda *args: seen.append(args))
    find_method(name)(data, 7, tmp_path)
    assert seen == [(data, 7, tmp_path, options)]


def test_weights_that_cannot_be_had_name_the_ways_out(
    data: CohortFold, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*args: Any) -> Any:
        raise BackboneError("no weights here")

    monkeypatch.setattr(methods, "predict_stnet", refuse)
    with pytest.raises(UsageError, match=r"no weights here; methods st-net:PATH .*st-net:random .*st-net-cpu"):
        find_method("st-net")(data, 0, tmp_path)
    with pytest.raises(UsageError, match=r'st-net: weights = "nowhere\.pth" is neither'):
        monkeypatch.undo()
        find_method("st-net:nowhere.pth")(data, 0, tmp_path)
