"""What an ONNX model may hold: the towers that there are pass, and everything else is told before it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.errors import ReferenceError
from bleep_cli.towers import session as sessions
from bleep_cli.towers.encoder import OnnxEncoder, embed_views
from bleep_cli.towers.model_file import check_model

Towers = tuple[bytes, bytes]
Edit = Callable[[onnx.ModelProto], None]


def altered(tower: bytes, change: Edit) -> bytes:
    model = onnx.load_from_string(tower)
    change(model)
    return bytes(model.SerializeToString())


def test_towers_and_the_shipped_backbone_pass(tower_bytes: Towers) -> None:
    for model in (*tower_bytes, asset(BACKBONE).read_bytes()):
        check_model(model)


def _external(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")


def external_weights(model: onnx.ModelProto) -> None:
    _external(model.graph.initializer[0])


def external_constant(model: onnx.ModelProto) -> None:
    constant = numpy_helper.from_array(np.ones(3, np.float32), "c")
    _external(constant)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["c"], value=constant))


def external_in_a_branch(model: onnx.ModelProto) -> None:
    external_constant(model)
    inner = helper.make_graph([model.graph.node[0]], "branch", [], [])
    del model.graph.node[0]
    model.graph.node.insert(0, helper.make_node("If", ["in"], ["c"], then_branch=inner, else_branch=inner))


def looped(operator: str) -> Edit:
    def change(model: onnx.ModelProto) -> None:
        body = helper.make_graph([], "body", [], [])
        model.graph.node.insert(0, helper.make_node(operator, ["in"], ["l"], body=body))

    return change


def foreign(domain: str, operator: str) -> Edit:
    return lambda model: model.graph.node.insert(0, helper.make_node(operator, ["in"], ["x"], domain=domain))


def _function(name: str, calls: list[tuple[str, str]], domain: str = "own") -> onnx.FunctionProto:
    nodes = [helper.make_node(called, ["x"], ["y"], domain=of) for of, called in calls]
    return helper.make_function(domain, name, ["x"], ["y"], nodes, [helper.make_opsetid("", 20)])


def functions(*made: onnx.FunctionProto) -> Edit:
    def change(model: onnx.ModelProto) -> None:
        model.functions.extend(made)
        foreign("own", "f0")(model)

    return change


def tower_of_functions(model: onnx.ModelProto) -> None:
    """Ten functions, each calling the next ten times: ten thousand million operators."""
    last = _function("f10", [("", "Abs")] * 10)
    functions(last, *(_function(f"f{i}", [("own", f"f{i + 1}")] * 10) for i in range(10)))(model)


REFUSED: dict[str, tuple[str, Edit]] = {
    "weights in another file": ("its weights lie in another file", external_weights),
    "a constant in another file": ("its weights lie in another file", external_constant),
    "a constant in another file, in a branch": ("its weights lie in another file", external_in_a_branch),
    "a loop": ("the operator Loop, which need not end", looped("Loop")),
    "a scan": ("the operator Scan, which need not end", looped("Scan")),
    "another domain": ("MyOp of my.ops, which is not let in", foreign("my.ops", "MyOp")),
    "a context of an engine": (
        "EPContext of com.microsoft, which is not let in",
        foreign("com.microsoft", "EPContext"),
    ),
    "an old opset": ("opset 3; 7 and later", lambda m: m.opset_import.append(helper.make_opsetid("", 3))),
    "a loop in a function": ("operator Loop", functions(_function("f0", [("", "Loop")]))),
    "a function of itself": ("f0 calls itself", functions(_function("f0", [("own", "f0")]))),
    "functions of each other": (
        "calls itself",
        functions(_function("f0", [("own", "f1")]), _function("f1", [("own", "f0")])),
    ),
    "functions without end": ("operators; at most 200000", tower_of_functions),
    "an operator's name for a function": ("bears the name", functions(_function("Loop", [("", "Abs")], ""))),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_let_in_is_told(tower_bytes: Towers, what: str) -> None:
    why, change = REFUSED[what]
    with pytest.raises(ReferenceError, match=why):
        OnnxEncoder(altered(tower_bytes[0], change), "cpu")


def test_graphs_too_deep_within_graphs_are_told() -> None:
    """As bytes: the package onnx does not go so deep itself."""

    def field(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 0x7F:
            size, length = size + bytes([length & 0x7F | 0x80]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    def nested(depth: int) -> bytes:
        graph = field(2, b"g")
        for _ in range(depth):
            graph = field(1, field(4, b"If") + field(5, field(6, graph)))
        return field(7, graph)

    check_model(nested(30))
    with pytest.raises(ValueError, match="graphs more than 32 deep"):
        check_model(nested(5000))


def test_a_function_that_ends_is_let_in(tower_bytes: Towers) -> None:
    check_model(altered(tower_bytes[0], functions(_function("f0", [("", "Abs")]))))


def test_weights_of_the_working_directory_are_not_read(
    tower_bytes: Towers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime would look for them there, and hashes of the model would not tell."""
    weights = onnx.load_from_string(tower_bytes[0]).graph.initializer[0]
    (tmp_path / "weights.bin").write_bytes(numpy_helper.to_array(weights).tobytes())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReferenceError, match="its weights lie in another file"):
        OnnxEncoder(altered(tower_bytes[0], external_weights), "cpu")


def test_truncated_and_flipped_models_are_reference_errors(tower_bytes: Towers) -> None:
    rng = np.random.default_rng(0)
    model = tower_bytes[1]
    for _ in range(300):
        data = bytearray(model[: rng.integers(1, len(model) + 1)])
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        try:
            check_model(bytes(data))
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("name", "other"),
    [(b"\n\x06scaled", b"\n\x06\xff\xfealed"), (b"\x02in", b"\x02\xff\xfe"), (b"batch", b"\xff\xfetch")],
)
def test_names_that_are_no_text_are_told_and_nothing_is_printed(
    tower_bytes: Towers, capfd: pytest.CaptureFixture[str], name: bytes, other: bytes
) -> None:
    assert name in tower_bytes[0]
    with pytest.raises(ReferenceError, match="is not a model that ONNX Runtime can run"):
        OnnxEncoder(tower_bytes[0].replace(name, other), "cpu")
    assert capfd.readouterr() == ("", "")


def test_what_onnx_runtime_says_is_made_printable(tower_bytes: Towers) -> None:
    with pytest.raises(ReferenceError, match=r"sc\\x1bled") as caught:
        OnnxEncoder(tower_bytes[0].replace(b"\n\x06scaled", b"\n\x06sc\x1bled"), "cpu")
    assert str(caught.value).isprintable()


# --- what comes out


def tower_of(nodes: list[onnx.NodeProto], out: list[Any], constants: dict[str, np.ndarray] | None = None) -> bytes:
    """An image tower of 4 px that gives ``out`` of ``nodes``; its input is ``in``, as f32 ``raw``."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["in"], ["raw"], to=1), *nodes],
        "tower",
        [helper.make_tensor_value_info("in", TensorProto.UINT8, ["b", 4, 4, 3])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def reshaped(*sizes: int) -> list[onnx.NodeProto]:
    return [helper.make_node("Reshape", ["raw", "sizes"], ["out"])]


TILES = np.zeros((3, 4, 4, 3), np.uint8)


def test_towers_that_give_nan_are_told() -> None:
    """Exact search would answer with a row that there is not."""
    flat = [helper.make_node("Flatten", ["raw"], ["flat"]), helper.make_node("Div", ["flat", "flat"], ["out"])]
    with pytest.raises(ReferenceError, match="the image tower gives NaN or infinity"):
        OnnxEncoder(tower_of(flat, ["b", 48]), "cpu").embed(TILES)


@pytest.mark.parametrize("sizes", [(1, 48), (3, 1), (1, 1), (48, 3)])
def test_outputs_that_would_be_broadcast_are_told(sizes: tuple[int, ...]) -> None:
    nodes = [  # sizes that show only when it runs
        helper.make_node("ReduceSum", ["raw"], ["zero"], keepdims=0),
        helper.make_node("Cast", ["zero"], ["none"], to=TensorProto.INT64),
        helper.make_node("Add", ["stated", "none"], ["sizes"]),
        helper.make_node("Reshape", ["raw", "sizes"], ["shaped"]),
        helper.make_node("ReduceMax", ["shaped", "axes"], ["out"], keepdims=0),
    ]
    constants = {"stated": np.array([*sizes, -1]), "axes": np.array([2])}
    encoder = OnnxEncoder(tower_of(nodes, ["b", 48], constants), "cpu")
    with pytest.raises(ReferenceError, match=r"does not give f32\[3, 48\] for 3 rows"):
        encoder.embed(TILES)


def test_vectors_that_are_not_of_length_1_are_told() -> None:
    flat = [helper.make_node("Flatten", ["raw"], ["out"])]
    encoder = OnnxEncoder(tower_of(flat, ["b", 48]), "cpu")
    assert encoder.embed(TILES).shape == (3, 48)  # features may be of any length
    with pytest.raises(ReferenceError, match="the image tower does not give unit vectors"):
        embed_views(encoder, TILES, 1)


def test_a_batch_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of products that would take some seconds; the limit is looked at between two operators."""
    monkeypatch.setattr(sessions, "MOST_BATCH_SECONDS", 0.2)
    size = 1500
    nodes = [helper.make_node("ReduceSum", ["raw"], ["zero"], keepdims=0)]
    nodes.append(helper.make_node("Add", ["square", "zero"], ["m0"]))
    nodes += [helper.make_node("MatMul", [f"m{i}", "square"], [f"m{i + 1}"]) for i in range(60)]
    nodes += [helper.make_node("Slice", ["m60", "from", "to"], ["out"])]
    constants = {
        "square": (np.eye(size, dtype=np.float32) + 1e-4),
        "from": np.array([0, 0]),
        "to": np.array([3, 48]),
    }
    encoder = OnnxEncoder(tower_of(nodes, ["b", 48], constants), "cpu")
    with pytest.raises(ReferenceError, match=r"the image tower took more than 0\.2 s for 3 rows"):
        encoder.embed(TILES)
