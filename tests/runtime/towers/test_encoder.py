"""The towers on ONNX Runtime: views, batches, and every way a model can be wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest

from bleep_cli.errors import BleepError, DeviceError, ReferenceError, UsageError
from bleep_cli.towers import encoder
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, embed_views, unit, views_of
from bleep_cli.towers.session import choose_device
from bleep_cli.types import F32, U8

Towers = tuple[bytes, bytes]
DIHEDRAL: list[Callable[[U8], U8]] = [
    lambda t: t,
    lambda t: np.rot90(t, 1),
    lambda t: np.rot90(t, 2),
    lambda t: np.rot90(t, 3),
    np.fliplr,
    lambda t: np.rot90(np.fliplr(t), 1),
    lambda t: np.rot90(np.fliplr(t), 2),
    lambda t: np.rot90(np.fliplr(t), 3),
]


def noise(n: int, px: int = 16, channels: int = 3) -> U8:
    return np.random.default_rng(n).integers(0, 256, (n, px, px, channels), np.uint8)


def lopsided(n: int) -> U8:
    """Tiles whose corners differ, so that every view of them is another picture."""
    tiles = noise(n) // 4
    tiles[:, :8, :8, 0] += 150
    tiles[:, :8, 8:, 1] += 100
    tiles[:, 8:, :8, 2] += 180
    return tiles


def test_views_are_the_eight_of_the_square_in_order() -> None:
    tiles = noise(2)
    views = list(views_of(tiles, 8))
    assert len(views) == 8
    for view, turn in zip(views, DIHEDRAL, strict=True):
        for i in range(2):
            np.testing.assert_array_equal(view[i], turn(tiles[i]))
    assert len({view.tobytes() for view in map(np.ascontiguousarray, views)}) == 8


def test_one_view_is_the_tile_itself() -> None:
    tiles = noise(2)
    assert [view is tiles for view in views_of(tiles, 1)] == [True]


@pytest.mark.parametrize("views", [0, 2, 4, 16])
def test_other_numbers_of_views_are_refused(views: int) -> None:
    with pytest.raises(UsageError, match=f"views {views}: choose one of 1, 8"):
        list(views_of(noise(1), views))


def test_eight_views_embed_a_turned_tile_like_the_tile(tower_bytes: Towers) -> None:
    tower, tiles = OnnxEncoder(tower_bytes[0], "cpu"), lopsided(3)
    wanted, single = embed_views(tower, tiles, 8), embed_views(tower, tiles, 1)
    for turn in DIHEDRAL[1:]:
        turned = np.stack([turn(tile) for tile in tiles])
        np.testing.assert_allclose(embed_views(tower, turned, 8), wanted, atol=1e-5)
        assert np.abs(embed_views(tower, turned, 1) - single).max() > 1e-2


def test_eight_views_are_the_normalised_mean(tower_bytes: Towers) -> None:
    tower, tiles = OnnxEncoder(tower_bytes[0], "cpu"), lopsided(3)
    mean = np.mean([tower.embed(view) for view in views_of(tiles, 8)], axis=0, dtype=np.float64)
    wanted = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    found = embed_views(tower, tiles, 8)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(embed_views(tower, tiles, 1), tower.embed(tiles))


@pytest.mark.parametrize("fields", [1, 2])
def test_image_tower_gives_unit_vectors(make_towers: Callable[..., Towers], fields: int) -> None:
    tower = OnnxEncoder(make_towers(fields=fields)[0], "cpu")
    assert (tower.tile_px, tower.channels, tower.dim, tower.device) == (16, 3 * fields, 8, "cpu")
    found = tower.embed(noise(3, channels=3 * fields))
    assert found.shape == (3, 8) and found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_batches_do_not_change_the_embeddings(tower_bytes: Towers, monkeypatch: pytest.MonkeyPatch) -> None:
    tiles, results = lopsided(19), []
    for batch in (1, 7, 8, 64):
        monkeypatch.setitem(encoder.BATCH, "cpu", batch)
        results.append(OnnxEncoder(tower_bytes[0], "cpu").embed(tiles))
    for found in results[1:]:
        np.testing.assert_allclose(found, results[0], atol=1e-6)
    assert len(np.unique(results[0].round(4), axis=0)) == 19  # no row is left over from another batch


def test_no_tiles_give_no_rows(tower_bytes: Towers) -> None:
    assert OnnxEncoder(tower_bytes[0], "cpu").embed(noise(0)).shape == (0, 8)
    assert OnnxExpressionEncoder(tower_bytes[1]).embed(np.empty((0, 12), np.float32)).shape == (0, 8)


@pytest.mark.parametrize("shape", [(2, 16, 16, 6), (2, 8, 8, 3), (2, 16, 8, 3), (2, 3, 16, 16)])
def test_tiles_of_another_shape_are_refused(tower_bytes: Towers, shape: tuple[int, ...]) -> None:
    with pytest.raises(ReferenceError, match=r"for a tower of \(16, 16, 3\)"):
        OnnxEncoder(tower_bytes[0], "cpu").embed(np.zeros(shape, np.uint8))


def test_expression_tower_in_batches_and_other_dtypes(tower_bytes: Towers) -> None:
    tower = OnnxExpressionEncoder(tower_bytes[1])
    rows: F32 = np.random.default_rng(0).random((11, 12), np.float32)
    wanted = tower.embed(rows)
    assert (tower.panel_size, tower.dim, wanted.shape, wanted.dtype) == (12, 8, (11, 8), np.float32)
    np.testing.assert_allclose(tower.embed(rows, batch=4), wanted, atol=1e-6)
    np.testing.assert_allclose(tower.embed(rows.astype(np.float64)), wanted, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(wanted, axis=1), 1, rtol=1e-5)


def test_expression_of_another_panel_is_refused(tower_bytes: Towers) -> None:
    with pytest.raises(ReferenceError, match="11 genes for a tower of 12"):
        OnnxExpressionEncoder(tower_bytes[1]).embed(np.zeros((2, 11), np.float32))


@pytest.mark.parametrize("data", [b"", b"not a model", bytes(1000)])
def test_bytes_that_are_no_model_are_a_reference_error(data: bytes) -> None:
    for kind in (OnnxEncoder, OnnxExpressionEncoder):
        with pytest.raises(ReferenceError, match="is not a model that ONNX Runtime can run") as caught:
            kind(data)
        assert caught.value.exit_code == 4


def test_a_truncated_model_is_a_reference_error(tower_bytes: Towers) -> None:
    with pytest.raises(ReferenceError, match="the image tower is not a model"):
        OnnxEncoder(tower_bytes[0][:-200], "cpu")


def identity(dtype: int, shape: list[Any], out: list[Any], inputs: int = 1) -> bytes:
    """A model that reshapes its first input to ``out``: sound ONNX, but no tower."""
    from onnx import TensorProto, helper, numpy_helper

    names = [f"in{i}" for i in range(inputs)]
    sizes = np.array([size if isinstance(size, int) else -1 for size in out])
    nodes = [
        helper.make_node("Cast", ["in0"], ["cast"], to=1),
        helper.make_node("Reshape", ["cast", "sizes"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "no tower",
        [helper.make_tensor_value_info(name, dtype, shape) for name in names],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(sizes, "sizes")],
    )
    opsets = [helper.make_opsetid("", 20)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


FLOAT, UINT8 = 1, 2
NO_IMAGE_TOWER = {
    "float input": (identity(FLOAT, ["b", 4, 4, 3], ["b", 48]), "one uint8 input of 4 axes"),
    "two inputs": (identity(UINT8, ["b", 4, 4, 3], ["b", 48], inputs=2), "one uint8 input of 4 axes"),
    "three axes": (identity(UINT8, ["b", 4, 12], ["b", 48]), "one uint8 input of 4 axes"),
    "picture out": (identity(UINT8, ["b", 4, 4, 3], ["b", 3, 16]), "one vector per row"),
    "open size": (identity(UINT8, ["b", "h", "w", 3], ["b", 48]), "leave the batch open and nothing else"),
    "fixed batch": (identity(UINT8, [1, 4, 4, 3], [1, 48]), "leave the batch open and nothing else"),
    "oblong": (identity(UINT8, ["b", 4, 8, 3], ["b", 96]), "8 × 4 px, not squares"),
}


@pytest.mark.parametrize("case", NO_IMAGE_TOWER)
def test_models_that_are_no_image_tower_are_refused(case: str) -> None:
    model, reason = NO_IMAGE_TOWER[case]
    with pytest.raises(ReferenceError, match=reason):
        OnnxEncoder(model, "cpu")


def test_models_that_are_no_expression_tower_are_refused(tower_bytes: Towers) -> None:
    for model in (tower_bytes[0], identity(FLOAT, ["b", 4], ["b", 4], inputs=2)):
        with pytest.raises(ReferenceError, match="the expression tower does not take one float input of 2 axes"):
            OnnxExpressionEncoder(model)
    with pytest.raises(ReferenceError, match="leave the batch open"):
        OnnxExpressionEncoder(identity(FLOAT, ["b", "genes"], ["b", 4]))


def test_a_model_that_fails_while_it_runs_is_a_reference_error() -> None:
    tower = OnnxEncoder(identity(UINT8, ["b", 4, 4, 3], ["b", 36]), "cpu")  # 48 values do not fill rows of 36
    with pytest.raises(ReferenceError, match="the image tower cannot be run"):
        tower.embed(np.zeros((1, 4, 4, 3), np.uint8))


# --- devices


@pytest.fixture
def no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])


@pytest.mark.usefixtures("no_cuda")
def test_cuda_without_its_provider_is_a_device_error(tower_bytes: Towers) -> None:
    with pytest.raises(DeviceError, match="device cuda: this ONNX Runtime has no CUDA provider") as caught:
        OnnxEncoder(tower_bytes[0], "cuda")
    assert caught.value.exit_code == 5
    assert choose_device("auto") == choose_device("cpu") == "cpu"


@pytest.fixture
def cuda_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU build on a machine without a driver: the provider is listed and then silently left out."""
    session = onnxruntime.InferenceSession
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda m, o, providers: session(m, o, providers=providers[-1:])
    )


@pytest.mark.usefixtures("cuda_that_does_not_start")
def test_cuda_that_falls_back_is_an_error_and_auto_takes_the_cpu(tower_bytes: Towers) -> None:
    with pytest.raises(DeviceError, match="the CUDA provider did not start"):
        OnnxEncoder(tower_bytes[0], "cuda")
    assert OnnxEncoder(tower_bytes[0], "auto").device == "cpu"
    assert choose_device("auto") == "cuda"


def test_without_onnxruntime_the_message_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BleepError, match=r"pip install \"\.\[cpu\]\"") as caught:
        choose_device("auto")
    assert isinstance(caught.value, DeviceError)


def test_unit_keeps_a_zero_row() -> None:
    assert unit(np.array([[3, 4], [0, 0]], np.float32)).tolist() == [[np.float32(0.6), np.float32(0.8)], [0, 0]]
