"""Linear heads and an ONNX backbone as the two towers of a bundle. Needs the package onnx (extra ``build``)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.errors import DeviceError, ReferenceError
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.types import F32

if TYPE_CHECKING:
    import onnx

OPSET = 20
IR_VERSION = 10


def _onnx() -> Any:
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise DeviceError(
            'fitting towers needs the package onnx; install it with "pip install bleep-cli[build]"'
        ) from error


def image_tower(backbone: bytes, px: int, fields: int, head: LinearHead) -> bytes:
    """``u8[batch, px, px, 3 * fields]`` → unit vectors ``f32[batch, k]``: every field through the backbone, their
    features side by side, then the head.

    ``backbone`` takes one field, ``u8[batch, px, px, 3]``, and gives ``f32[batch, d]``. Raises ``ReferenceError``
    for one of several inputs or outputs.
    """
    onnx = _onnx()
    model = onnx.load_from_string(backbone)
    tiles, features = _ends(model)
    inner = onnx.compose.add_prefix(model, "backbone/")
    d = head.weights.shape[0]
    before = [
        _node("Reshape", ["tiles", "by_field"], ["split"]),
        _node("Transpose", ["split"], ["stacked"], perm=[0, 3, 1, 2, 4]),
        _node("Reshape", ["stacked", "one_field"], [f"backbone/{tiles}"]),
    ]
    after = [
        _node("Reshape", [f"backbone/{features}", "side_by_side"], ["features"]),
        *_linear("features"),
    ]
    constants: dict[str, np.ndarray] = {
        "by_field": np.array([0, px, px, fields, 3], np.int64),
        "one_field": np.array([-1, px, px, 3], np.int64),
        "side_by_side": np.array([-1, d], np.int64),
        **_weights(head),
    }
    return _model(
        [*before, *inner.graph.node, *after],
        constants,
        ("tiles", onnx.TensorProto.UINT8, ["batch", px, px, 3 * fields]),
        head.weights.shape[1],
        list(inner.graph.initializer),
        {entry.domain: entry.version for entry in inner.opset_import},
    )


def expression_tower(head: LinearHead) -> bytes:
    """log1p on the panel ``f32[batch, p]`` → unit vectors ``f32[batch, k]``."""
    onnx = _onnx()
    given = ("expression", onnx.TensorProto.FLOAT, ["batch", head.weights.shape[0]])
    return _model(_linear("expression"), _weights(head), given, head.weights.shape[1], [], {"": OPSET})


def _linear(name: str) -> list[onnx.NodeProto]:
    return [
        _node("Gemm", [name, "weights", "bias"], ["projected"]),
        _node("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
    ]


def _weights(head: LinearHead) -> dict[str, F32]:
    """``(x - mean) W`` as ``x W + bias``."""
    bias = -(head.mean.astype(np.float64) @ head.weights.astype(np.float64))
    return {"weights": head.weights, "bias": bias.astype(np.float32)}


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    node: onnx.NodeProto = _onnx().helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)
    return node


def _ends(model: onnx.ModelProto) -> tuple[str, str]:
    """Names of the one input and the one output."""
    stored = {initializer.name for initializer in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in stored]
    outputs = [value.name for value in model.graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ReferenceError(f"a backbone has one input and one output, this has {len(inputs)} and {len(outputs)}")
    return inputs[0], outputs[0]


def _model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    given: tuple[str, int, list[str | int]],
    dim: int,
    initializers: list[onnx.TensorProto],
    opsets: Mapping[str, int],
) -> bytes:
    onnx = _onnx()
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info(*given)],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["batch", dim])],
        [*initializers, *(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())],
    )
    opset_imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
    model = helper.make_model(graph, opset_imports=opset_imports, ir_version=IR_VERSION, producer_name="bleep")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
