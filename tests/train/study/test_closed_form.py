"""A reference whose towers were fitted in closed form, evaluated beside ridge on its own backbone's features."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError
from bleep_cli.genes.columns import measured_log1p
from bleep_cli.types import no_progress
from bleep_train.metrics.per_gene import pearson
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
    assert list(scored) == ["bleep", "ridge", "mean", "shuffled", "shifted"]
    assert scored["ridge"]["hvg50"] > 0.25
    bundle = open_bundle(own)
    features = features_of(bundle, phantoms, tmp_path / "cache", no_progress)
    assert [s.id for s in features.training] == ["A-S1", "B-S1"]
    kept = sorted((tmp_path / "cache").iterdir())
    shapes = {np.load(file, mmap_mode="r").shape for file in kept}
    width = sum(features.stages) * len(bundle.info.tile.um)
    assert shapes == {(len(s.barcodes), 8, width) for s in features.training} | {(45, 8, width)}


def test_spots_of_few_counts_are_left_out_of_the_truth_and_predicted_like_the_others(
    own: Path, phantoms: Path, bleep: Callable[..., str], bleep_train: Callable[..., str], tmp_path: Path
) -> None:
    (whole,) = read_cohort(phantoms, only=["C-S1"])
    totals = np.asarray(whole.counts.sum(axis=1)).ravel()
    least = int(np.sort(totals)[9])
    text = phantoms.read_text().replace('= "C-S1/', f'= "{phantoms.parent.as_posix()}/C-S1/')
    cohort = tmp_path / "cohort.toml"
    cohort.write_text(f"min_counts = {least}\n" + text)
    bleep_train("evaluate", own, cohort, "--on", "C-S1", "-o", tmp_path / "out", "--no-ridge")
    scored = json.loads((tmp_path / "out" / "metrics.json").read_text())["sections"]["C-S1"]["bleep"]
    assert scored["n_spots"] == (totals >= least).sum() < len(totals)
    section = phantoms.parent / "C-S1"
    positions = section / "outs" / "spatial" / "tissue_positions.csv"
    bleep("predict", section / "C-S1.tif", "--ref", own, "--at", positions, "-o", tmp_path, "--format", "h5ad")
    at = anndata.read_h5ad(tmp_path / "C-S1.h5ad")[whole.barcodes[totals >= least].tolist()]
    bundle = open_bundle(own)
    measured = measured_log1p(whole, bundle.symbols, bundle.gene_ids, bundle.info.target_sum)[totals >= least]
    names = json.loads((tmp_path / "out" / "gene_sets.json").read_text())["hvg50"]
    rows = [bundle.symbols.tolist().index(name) for name in names]
    r = pearson(np.asarray(at.X)[:, rows], measured[:, rows])
    assert scored["hvg50"] == pytest.approx(np.nan_to_num(r).mean(), abs=1e-9)


def test_ridge_needs_the_spots_that_the_reference_was_built_from(
    own: Path, phantoms: Path, tmp_path: Path
) -> None:
    text = phantoms.read_text()
    for name in ("A-S1", "B-S1"):
        text = text.replace(f'= "{name}/', f'= "{phantoms.parent.as_posix()}/{name}/')
    (section,) = read_cohort(phantoms, only=["B-S1"])
    least = int(np.asarray(section.counts.sum(axis=1)).min()) + 1
    cohort = tmp_path / "cohort.toml"
    cohort.write_text(text.replace('id = "B-S1"', f'id = "B-S1"\nmin_counts = {least}'))
    with pytest.raises(UsageError, match=r"other spots of B-S1 \(\d+ spots, here \d+\); set min_counts as it was"):
        features_of(open_bundle(own), cohort, tmp_path / "cache", no_progress)


def test_what_backbone_it_has_must_be_known(own: Path, phantoms: Path, tmp_path: Path) -> None:
    told = {
        "fitted on another backbone than this version holds; use no_ridge": {"backbone_sha256": "0" * 64},
        "does not say which backbone its image tower has, .*; use no_ridge": {"recipe": None},
        r"was fitted on the features of uni\.onnx, which are not computed here; use no_ridge": {
            "backbone": "uni.onnx"
        },
    }
    for i, (message, changes) in enumerate(told.items()):
        bundle = open_bundle(retold(own, tmp_path / f"{i}.zarr", **changes))
        with pytest.raises(UsageError, match=message):
            features_of(bundle, phantoms, tmp_path / "cache", no_progress)
