"""What a graph does twice is done once, and what it gives stays."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from bleep_cli.fitting.repeats import without_repeats


def graph(nodes: list[onnx.NodeProto], outputs: tuple[str, ...] = ("a", "b")) -> onnx.GraphProto:
    """From x f32[3]; the constants c and d are equal, e is not."""
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in outputs],
        [
            numpy_helper.from_array(np.full(3, value, np.float32), name)
            for name, value in zip("cde", (2, 2, 5), strict=True)
        ],
    )


def given(made: onnx.GraphProto) -> list[np.ndarray]:
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": np.arange(3, dtype=np.float32)}))


def kinds(made: onnx.GraphProto) -> list[str]:
    return [node.op_type for node in made.node]


def test_equal_work_with_equal_constants_is_done_once() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["p"]),
        helper.make_node("Relu", ["p"], ["q"]),
        helper.make_node("Identity", ["x"], ["y"]),
        helper.make_node("Mul", ["y", "d"], ["r"]),
        helper.make_node("Relu", ["r"], ["s"]),
        helper.make_node("Add", ["q", "e"], ["a"]),
        helper.make_node("Sub", ["s", "e"], ["b"]),
    ]
    made = graph(nodes)
    before = given(made)
    without_repeats(made)
    assert kinds(made) == ["Mul", "Relu", "Add", "Sub"]
    assert [tensor.name for tensor in made.initializer] == ["c", "e"]
    for one, other in zip(before, given(made), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_differs_in_order_settings_or_kind_stays() -> None:
    nodes = [
        helper.make_node("Sub", ["x", "c"], ["p"]),
        helper.make_node("Sub", ["d", "x"], ["q"]),
        helper.make_node("LeakyRelu", ["p"], ["r"], alpha=0.1),
        helper.make_node("LeakyRelu", ["p"], ["s"], alpha=0.2),
        helper.make_node("RandomNormalLike", ["x"], ["t"]),
        helper.make_node("RandomNormalLike", ["x"], ["u"]),
        helper.make_node("Sum", ["r", "s", "t", "u"], ["a"]),
        helper.make_node("Identity", ["q"], ["b"]),
    ]
    made = graph(nodes)
    without_repeats(made)
    assert kinds(made) == [node.op_type for node in nodes]


def test_outputs_keep_their_names() -> None:
    made = graph([helper.make_node("Mul", ["x", "c"], ["a"]), helper.make_node("Mul", ["x", "d"], ["b"])])
    without_repeats(made)
    assert kinds(made) == ["Mul", "Mul"]
    assert len(given(made)) == 2


def test_a_graph_with_graphs_inside_stays() -> None:
    inner = helper.make_graph(
        [helper.make_node("Mul", ["p", "d"], ["o"])],
        "inner",
        [],
        [helper.make_tensor_value_info("o", TensorProto.FLOAT, [3])],
    )
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["p"]),
        helper.make_node("Mul", ["x", "d"], ["q"]),
        helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        helper.make_node("If", ["yes"], ["a"], then_branch=inner, else_branch=inner),
        helper.make_node("Identity", ["q"], ["b"]),
    ]
    made = graph(nodes)
    before = made.SerializeToString()
    without_repeats(made)
    assert made.SerializeToString() == before
