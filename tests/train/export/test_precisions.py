"""The image tower in int8 and float16: what is quantised, what it costs, its way into bundle and prediction."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import onnx
import pytest
import torch

from bleep_cli.bundle.encoders_folder import load_encoders
from bleep_cli.bundle.open import Bundle, open_bundle, stored_costs
from bleep_cli.bundle.verify import verify
from bleep_cli.towers.encoder import OnnxEncoder, gives_as
from bleep_cli.towers.precision import Chosen, OtherTower
from bleep_cli.types import U8
from bleep_train.config.schema import ModelConfig
from bleep_train.export.cost import CALIBRATION_TILES, calibration_rows
from bleep_train.export.graph import ExportError, to_onnx
from bleep_train.export.precisions import fp16_tower, int8_tower
from bleep_train.export.towers import ImageGraph
from bleep_train.model.towers import build_towers

PX, DIM = 64, 16
Command = Callable[..., str]


def tiles(count: int, seed: int = 0) -> U8:
    """Smooth coloured tiles, far more alike than noise is."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 8, 8, 3))
    return np.repeat(np.repeat(coarse, PX // 8, axis=1), PX // 8, axis=2).astype(np.uint8)


def tower(backbone: str) -> bytes:
    weights = "imagenet" if backbone == "efficientnet-lite0" else "random"
    torch.manual_seed(0)  # random weights decide how near int8 comes
    towers = build_towers(ModelConfig(backbone=backbone, weights=weights, dim=DIM), 1, 10)
    return to_onnx(ImageGraph(towers.image), torch.zeros(2, PX, PX, 3, dtype=torch.uint8), "tiles")


@pytest.fixture(scope="module")
def lite0() -> bytes:
    return tower("efficientnet-lite0")


def kinds_after(model: bytes, wanted: str) -> list[set[str]]:
    """For every node of a kind: the kinds of the nodes that take its output."""
    nodes = onnx.load_from_string(model).graph.node
    takers: dict[str, set[str]] = {}
    for node in nodes:
        for name in node.input:
            takers.setdefault(name, set()).add(node.op_type)
    return [takers.get(node.output[0], set()) for node in nodes if node.op_type == wanted]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "resnet18", "timm:test_vit"])
def test_int8_gives_nearly_what_float32_gives(backbone: str) -> None:
    image = tower(backbone)
    quantised = int8_tower(image, tiles(16))
    seen = tiles(12, seed=1)
    full, low = (OnnxEncoder(model, "cpu").embed(seen) for model in (image, quantised))
    assert low.shape == full.shape
    assert not np.array_equal(low, full)
    np.testing.assert_allclose(np.linalg.norm(low, axis=1), 1, atol=1e-3)
    own = (full * low).sum(axis=1)
    others = full @ low.T
    assert own.mean() > 0.9
    # Chance is 1 in 12; random weights lay all tiles close together, so some are mistaken for another.
    assert (others.argmax(axis=1) == np.arange(len(seen))).mean() > 0.5
    assert len(quantised) < 0.5 * len(image)


@pytest.mark.slow
def test_every_layer_of_the_backbone_is_int8_and_the_head_is_not(lite0: bytes) -> None:
    model = int8_tower(lite0, tiles(8))
    graph = onnx.load_from_string(model).graph
    kinds = {node.op_type for node in graph.node}
    assert "BatchNormalization" not in kinds  # folded before ranges were measured
    made = {name: node.op_type for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Conv":
            assert {made.get(name, "") for name in node.input} == {"DequantizeLinear"}, node.name
        if node.op_type == "Gemm":
            assert "DequantizeLinear" not in {made.get(name, "") for name in node.input}, node.name
    # ReLU6 lies within the range of what quantises its convolution: nothing runs between two int8 layers
    assert all(takers == {"QuantizeLinear"} for takers in kinds_after(model, "Conv"))
    assert sum(node.op_type == "Conv" for node in graph.node) == 49


@pytest.mark.slow
def test_calibration_decides(lite0: bytes) -> None:
    """Ranges come from the tiles that are given: black ones say nothing of real ones."""
    seen = tiles(12, seed=1)
    full = OnnxEncoder(lite0, "cpu").embed(seen)
    cosine = []
    for given in (tiles(16), np.zeros_like(tiles(4))):
        low = OnnxEncoder(int8_tower(lite0, given), "cpu").embed(seen)
        cosine.append(float((full * low).sum(axis=1).mean()))
    assert cosine[0] > cosine[1] + 0.01


@pytest.mark.slow
def test_int8_of_the_same_tiles_is_the_same(lite0: bytes) -> None:
    assert int8_tower(lite0, tiles(4)) == int8_tower(lite0, tiles(4))


def test_a_tower_without_layers_is_refused(tower_bytes: tuple[bytes, bytes]) -> None:
    _, expression = tower_bytes  # one vector per row, head all through
    with pytest.raises(ExportError, match="no layer that int8 could stand in for"):
        int8_tower(expression, np.zeros((4, 12), np.uint8))


@pytest.mark.slow
def test_float16_gives_what_float32_gives_at_half_the_size(lite0: bytes) -> None:
    half = fp16_tower(lite0)
    seen = tiles(6, seed=1)
    full, low = (OnnxEncoder(model, "cpu").embed(seen) for model in (lite0, half))
    assert not np.array_equal(low, full)
    assert (full * low).sum(axis=1).min() > 0.999
    assert low.dtype == np.float32
    assert len(half) < 0.6 * len(lite0)


def test_calibration_takes_tiles_of_every_section_and_leaves_some() -> None:
    counts = [200, 7, 300]
    rows = calibration_rows(counts)
    assert sum(map(len, rows)) == CALIBRATION_TILES
    assert all(len(r) and r.min() >= 0 and r.max() < n for r, n in zip(rows, counts, strict=True))
    few = calibration_rows([4, 5])
    assert sum(map(len, few)) == 4
    assert [r.tolist() for r in calibration_rows([1])] == [[0]]


# --- into the bundle


@pytest.fixture(scope="module")
def exported(run: Path, bleep_train: Command, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A bundle with all three precisions, and what the command printed."""
    out = tmp_path_factory.mktemp("precisions") / "all.zarr"
    return out, bleep_train("export", run, "-o", out, "--int8", "--fp16")


def test_the_bundle_holds_them_and_says_what_they_cost(exported: tuple[Path, str]) -> None:
    path, printed = exported
    bundle = open_bundle(path)
    costs = stored_costs(bundle.root)
    assert list(costs) == ["int8", "fp16"]
    assert costs["fp16"].cosine > 0.999
    assert costs["fp16"].overlap50 > 0.95
    assert 0.5 < costs["int8"].overlap50 < 1
    assert abs(costs["fp16"].delta_r_hvg50) < 0.01
    for precision, cost in costs.items():
        assert cost.measured_on.startswith("training sections A-S1, B-S1, one against the others (")
        assert f"{precision} against float32: {cost.line()}" in printed
    checks = {check.name: check for check in verify(bundle)}
    assert all(check.ok for check in checks.values())


def test_the_folder_of_encoders_carries_them(exported: tuple[Path, str], run: Path) -> None:
    bundle, folder = open_bundle(exported[0]), load_encoders(run / "encoders")
    held = bundle.other_towers()
    assert {chosen: other.cost for chosen, other in folder.others.items()} == stored_costs(bundle.root)
    for chosen, other in folder.others.items():
        assert gives_as(held[chosen].model) == gives_as(other.model)


def test_every_precision_tells_the_same_looks(exported: tuple[Path, str], run: Path) -> None:
    """They are of the shipped backbone beside the tower, and it is in float32 there."""
    bundle, folder = open_bundle(exported[0]), load_encoders(run / "encoders")
    stored, px = bundle.looks(), bundle.info.tile.px
    assert stored is not None
    assert len(stored.spot) == bundle.n_spots
    seen = np.random.default_rng(3).integers(0, 256, (3, px, px, 3 * len(bundle.info.tile.um)), np.uint8)
    held = {chosen: other.model for chosen, other in bundle.other_towers().items()}
    full = OnnxEncoder(bundle.tower("image"), "cpu")
    assert full.looks == stored.tiles.shape[1]
    for chosen, model in held.items():
        tower = OnnxEncoder(model, "cpu")
        found = tower.see(seen)
        np.testing.assert_allclose(found[:, tower.dim :], full.see(seen)[:, full.dim :], atol=1e-4)
        alone = OnnxEncoder(folder.others[chosen].model, "cpu").embed(seen)
        np.testing.assert_allclose(found[:, : tower.dim], alone, atol=1e-6)


def test_a_built_and_a_grown_bundle_have_them_too(
    exported: tuple[Path, str], run: Path, phantoms: Path, bleep: Command, tmp_path: Path
) -> None:
    built, grown = tmp_path / "built.zarr", tmp_path / "grown.zarr"
    bleep("build-reference", phantoms, "--only", "A-S1", "--encoders", run / "encoders", "-o", built)
    bleep("build-reference", phantoms, "--only", "C-S1", "--base", built, "-o", grown)
    wanted = {chosen: gives_as(other.model) for chosen, other in open_bundle(exported[0]).other_towers().items()}
    held, kept = open_bundle(built).other_towers(), open_bundle(grown).other_towers()
    assert held == kept
    assert {chosen: gives_as(other.model) for chosen, other in held.items()} == wanted
    assert {chosen: other.cost for chosen, other in held.items()} == stored_costs(open_bundle(exported[0]).root)


def test_what_is_held_out_is_not_asked_whether_int8_will_do(exported: tuple[Path, str], run: Path) -> None:
    """All spots of the training sections are, but for those whose tiles int8 was calibrated on."""
    assert json.loads((run / "run.json").read_text())["held_out"] == ["C-S1"]
    bundle = open_bundle(exported[0])
    cost = stored_costs(bundle.root)["int8"]
    asked = int(cost.measured_on.rpartition("(")[2].split()[0])
    counts = [record.n for record in bundle.info.sections]
    assert asked == sum(counts) - sum(map(len, calibration_rows(counts)))


def test_predictions_run_on_it(exported: tuple[Path, str], phantoms: Path, bleep: Command, tmp_path: Path) -> None:
    slide = phantoms.parent / "C-S1" / "C-S1.tif"
    found: dict[str, Any] = {}
    for precision in ("fp32", "int8"):
        out = tmp_path / precision
        bleep("predict", slide, "--ref", exported[0], "-o", out, "--precision", precision, "--format", "h5ad")
        found[precision] = anndata.read_h5ad(next(out.glob("*.h5ad")))
    a, b = (np.asarray(found[p].X) for p in ("fp32", "int8"))
    assert not np.array_equal(a, b)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.99


class Swapped(Bundle):
    """A bundle whose first further precision is no image tower."""

    def other_towers(self) -> dict[Chosen, OtherTower]:
        (precision, held), *_ = super().other_towers().items()
        return {precision: replace(held, model=self.tower("expression"))}


def test_verify_names_one_that_does_not_fit(exported: tuple[Path, str]) -> None:
    bundle = open_bundle(exported[0])
    swapped = Swapped(bundle.root, bundle.name, bundle.info, bundle.attrs)
    (towers,) = (check for check in verify(swapped) if check.name == "towers")
    assert not towers.ok
    assert "image tower" in towers.detail
