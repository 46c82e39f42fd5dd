"""Models and settings that cannot be used: what is said of each. The files are somebody's: nothing is trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_models import MAP, POOLED, PX, TOKENS, D, encoder, saved
from onnx import TensorProto, helper, numpy_helper

from bleep_cli.errors import BleepError, ReferenceError, UsageError
from bleep_cli.fitting import onnx_file
from bleep_cli.fitting.backbone import load_backbone

Change = Callable[[onnx.GraphProto], None]


def with_node(kind: str, inputs: list[str], **attributes: Any) -> Change:
    """One more node, whose result is called ``odd``; it may take the constants ``one_row`` and ``nought``."""

    def change(graph: onnx.GraphProto) -> None:
        graph.initializer.extend(
            [
                numpy_helper.from_array(np.array([1, -1, D]), "one_row"),
                numpy_helper.from_array(np.float32(0), "nought"),
            ]
        )
        graph.node.append(helper.make_node(kind, inputs, ["odd"], **attributes))

    return change


def second_input(graph: onnx.GraphProto) -> None:
    graph.input.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", D]))
    graph.node.append(helper.make_node("Add", [POOLED, "mask"], ["odd"]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_node("ArgMax", [POOLED], axis=1), r"tensor odd is int64 \[2, 1\]; features \[b, d\]"),
        (with_node("Reshape", [TOKENS, "one_row"]), r"tensor odd is \[1, 32, 6\] for two tiles"),
        (with_node("ReduceMean", [POOLED]), r"tensor odd is \[1, 1\] for two tiles"),
        (with_node("Div", [POOLED, "nought"]), "tensor odd holds NaN or infinity"),
        (with_node("Softmax", [POOLED], axis=0), "tensor odd of a tile depends on the tiles beside it"),
        (with_node("Unheard", [POOLED]), "own.onnx does not run on a batch of tiles .*Unheard"),
        (second_input, "own.onnx takes 2 inputs"),
    ],
)
def test_tensors_that_are_no_features(tmp_path: Path, change: Change, words: str) -> None:
    path = saved(tmp_path, encoder(change=change))
    with pytest.raises(ReferenceError, match=words):
        load_backbone(f"{path}:odd")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (["batch", 3, 16, 32], r"takes tiles of \[None, 3, 16, 32\], not squares"),
        (["batch", 4, 16, 16], "in place of three channels; state its layout"),
        (["batch", 3, 16], "of 3 axes, not tiles"),
    ],
)
def test_inputs_that_take_no_tiles(tmp_path: Path, shape: list[Any], words: str) -> None:
    with pytest.raises(ReferenceError, match=words):
        load_backbone(saved(tmp_path, encoder(shape=shape)))


def test_an_input_of_another_kind(tmp_path: Path) -> None:
    model = encoder()
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ReferenceError, match="takes INT64 of 4 axes"):
        load_backbone(saved(tmp_path, model))


def test_a_size_that_the_operators_do_not_take(tmp_path: Path) -> None:
    """The graph leaves it open, a weight within decides it: the message says what to state."""

    def fixed(graph: onnx.GraphProto) -> None:
        graph.initializer.append(numpy_helper.from_array(np.ones((1, D, 4, 4), np.float32), "positions"))
        graph.node.append(helper.make_node("Add", [MAP, "positions"], ["odd"]))

    free = encoder(shape=["batch", 3, "h", "w"], change=fixed)
    with pytest.raises(ReferenceError, match=r"own\.onnx does not run on a batch of tiles of 224 px .*state px"):
        load_backbone(f"{saved(tmp_path, free)}:odd")
    assert load_backbone(f"{saved(tmp_path, free, 'px = 16')}:odd").px == PX


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        (":block/token", r"own\.onnx computes no tensor block/token; did you mean block/tokens\?"),
        (":image", "computes no tensor image"),
        (":QQQQ", r"computes no tensor QQQQ$"),
        (f":{MAP},{MAP}", "a tensor is named twice"),
    ],
)
def test_tensors_that_are_not_there(tmp_path: Path, tensors: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load_backbone(f"{saved(tmp_path, encoder())}{tensors}")


def test_of_several_outputs_some_have_to_be_named(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(outputs=(TOKENS, POOLED)))
    with pytest.raises(UsageError, match=r"has 2 outputs; name those to take, as in own\.onnx:block/tokens,p"):
        load_backbone(path)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", ReferenceError, "own.onnx: it holds no graph"),
        (b"no model at all", ReferenceError, "own.onnx is no ONNX model"),
        (encoder().SerializeToString()[:200], ReferenceError, "own.onnx is no ONNX model|holds no graph"),
        (encoder(9).SerializeToString(), ReferenceError, "opset 9; an ONNX model of opset 11 or later"),
    ],
)
def test_files_that_are_no_models(tmp_path: Path, content: bytes, error: type[BleepError], words: str) -> None:
    (tmp_path / "own.onnx").write_bytes(content)
    with pytest.raises(error, match=words):
        load_backbone(tmp_path / "own.onnx")


@pytest.mark.parametrize("asked", ["absent.onnx", "absent.onnx:a,b", "no-model", "absent.onnx:C:/x"])
def test_a_file_that_is_not_there(tmp_path: Path, asked: str) -> None:
    with pytest.raises(UsageError, match=r"no such file; FILE\.onnx or FILE\.onnx:tensor,tensor names a") as e:
        load_backbone(tmp_path / asked)
    assert str(tmp_path) not in str(e.value)


def test_weights_that_do_not_lie_beside_the_model(tmp_path: Path) -> None:
    path = tmp_path / "own.onnx"
    onnx.save(encoder(), path, save_as_external_data=True, location="own.onnx.data", size_threshold=0)
    (tmp_path / "own.onnx.data").unlink()
    with pytest.raises(ReferenceError, match=r"its weights are in own\.onnx\.data, which must lie beside it"):
        load_backbone(path)


def test_weights_outside_the_models_folder_are_not_read(tmp_path: Path) -> None:
    model = encoder()
    (tmp_path / "secret").write_bytes(bytes(10_000))
    kernel = model.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="../secret")
    with pytest.raises(ReferenceError, match="its weights are in secret, which must lie beside it"):
        load_backbone(saved(tmp_path / "folder", model))


def test_weights_that_no_bundle_could_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before they are read; a cut that leaves less of them may do."""
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 2000)
    path = saved(tmp_path, encoder())
    assert load_backbone(f"{path}:{MAP}").dims == (D,)
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 1000)
    with pytest.raises(ReferenceError, match=r"GB of weights up to these tensors, .*name earlier tensors"):
        load_backbone(path)


def test_the_size_of_weights_outside_counts(tmp_path: Path) -> None:
    """A file that claims more weights than there are is not believed so far as to read it."""
    model = encoder()
    kernel = model.graph.initializer[0]
    kernel.ClearField("raw_data")
    kernel.dims[:] = [1 << 16, 1 << 16, 4, 4]
    kernel.data_location = TensorProto.EXTERNAL
    kernel.external_data.add(key="location", value="weights")
    (tmp_path / "weights").write_bytes(b"x")
    with pytest.raises(ReferenceError, match=r"274\.9 GB of weights"):
        load_backbone(saved(tmp_path, model))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("tokns = 'cls'", r"own\.toml: unknown key tokns; did you mean tokens\?"),
        ("quite = 1", "unknown key quite; known are px, layout"),
        ("px = 0", "px = 0; a whole number from 1"),
        ("px = true", "px = True; a whole number from 1"),
        ("px = '224'", "a whole number from 1"),
        ("layout = 'hwc'", "layout = 'hwc'; choose one of nchw, nhwc"),
        ("channels = ['rgb']", "choose one of rgb, bgr"),
        ("range = [1, 0]", "range = .*two numbers are needed, the smaller first"),
        ("mean = [0.5]", "three numbers are needed, for R, G and B"),
        ("mean = 0.5", "three numbers are needed"),
        ("mean = [nan, 0, 0]", "three numbers are needed"),
        ("std = [1, 1, 0]", "three positive numbers"),
        ("tokens = 'max'", "choose one of cls, mean, cls"),
        ("prefix = -1", "a whole number from 0"),
        ("prefix = 0", 'prefix = 0 leaves no class token; set tokens = "mean"'),
        ("prefix = 16", "has 16 tokens; prefix = 16 leaves no patch"),
        ("fields_um = []", "different positive numbers"),
        ("fields_um = [310, 155]", "the smallest first"),
        ("licence = 3", "text in quotes"),
        ("px = 32", "takes tiles of 16 px; px = 32 does not fit it"),
        ("px = ", "own.toml: not valid TOML"),
    ],
)
def test_settings_that_mean_nothing(tmp_path: Path, settings: str, words: str) -> None:
    path = saved(tmp_path, encoder(), settings)
    with pytest.raises(UsageError, match=words):
        load_backbone(f"{path}:{TOKENS}")


def test_a_layout_that_contradicts_the_graph(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match="in place of three channels"):
        load_backbone(saved(tmp_path, encoder(), 'layout = "nhwc"'))


def test_a_model_of_bytes_is_not_scaled_twice(tmp_path: Path) -> None:
    path = saved(tmp_path, encoder(kind=TensorProto.UINT8), "mean = [0.5, 0.5, 0.5]")
    with pytest.raises(UsageError, match="takes bytes and scales them itself; leave out mean"):
        load_backbone(path)


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml cannot be read"):
        load_backbone(saved(tmp_path, encoder()), tmp_path / "absent.toml")
