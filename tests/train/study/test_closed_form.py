"""A reference whose towers were fitted in closed form, evaluated beside ridge on its own backbone's features."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import UsageError
from bleep_cli.types import no_progress
from bleep_train.study.bundle_features import features_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def own(phantoms: Path, bleep: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own") / "own.zarr"
    bleep("build-reference", phantoms, "--only", "A-S1,B-S1", "--views", "1", "-o", out)
    return out


def retold(bundle: Path, out: Path, **changes: Any) -> Path:
    """A copy with other words about its training; None takes one away."""
    shutil.copytree(bundle, out)
    root = json.loads((out / "zarr.json").read_text())
    told = root["attributes"]["training"] | changes
    root["attributes"]["training"] = {key: value for key, value in told.items() if value is not None}
    (out / "zarr.json").write_text(json.dumps(root))
    return out


def test_ridge_stands_on_the_features_of_its_backbone(
    own: Path, phantoms: Path, bleep_train: Callable[..., str], tmp_path: Path
) -> None:
    bleep_train("evaluate", own, phantoms, "--on", "C-S1", "-o", tmp_path)
    scored = json.loads((tmp_path / "metrics.json").read_text())["sections"]["C-S1"]
    assert list(scored) == ["bleep", "ridge", "mean", "shuffled"]
    assert scored["ridge"]["hvg50"] > 0.25
    bundle = open_bundle(own)
    features = features_of(bundle, phantoms, tmp_path / "cache", no_progress)
    assert [s.id for s in features.training] == ["A-S1", "B-S1"]
    kept = sorted((tmp_path / "cache").iterdir())
    shapes = {np.load(file, mmap_mode="r").shape for file in kept}
    width = sum(features.stages) * len(bundle.info.tile.um)
    assert shapes == {(len(s.barcodes), 8, width) for s in features.training} | {(45, 8, width)}


def test_what_backbone_it_has_must_be_known(own: Path, phantoms: Path, tmp_path: Path) -> None:
    told = {
        "fitted on another backbone than this version holds; use no_ridge": {"backbone_sha256": "0" * 64},
        "does not say which backbone its image tower has, .*; use no_ridge": {"recipe": None},
    }
    for i, (message, changes) in enumerate(told.items()):
        bundle = open_bundle(retold(own, tmp_path / f"{i}.zarr", **changes))
        with pytest.raises(UsageError, match=message):
            features_of(bundle, phantoms, tmp_path / "cache", no_progress)
