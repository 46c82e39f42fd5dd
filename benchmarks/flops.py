"""Multiply-adds of an ONNX model, counted from its graph."""

from __future__ import annotations

import math
from typing import Any


def flops_per_item(model: bytes) -> float:
    """Floating-point operations (a multiply-add is two) of one item of the batch, in the layers that matter.

    Counts Conv, ConvTranspose, MatMul and Gemm and their quantised forms; the rest is memory traffic. Needs the
    package ``onnx``.
    """
    import onnx
    from onnx import numpy_helper, shape_inference

    proto = shape_inference.infer_shapes(_batch_of_one(onnx.load_from_string(model)))
    graph = proto.graph
    shapes = {v.name: _shape(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    shapes |= {t.name: list(numpy_helper.to_array(t).shape) for t in graph.initializer}
    return float(sum(_node(node, shapes) for node in graph.node))


def _batch_of_one(proto: Any) -> Any:
    """The open batch fixed to 1, and shapes that were written for an open one forgotten."""
    for value in (*proto.graph.input, *proto.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.ClearField("dim_param")
        dim.dim_value = 1
    del proto.graph.value_info[:]
    return proto


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]


def _node(node: Any, shapes: dict[str, list[int]]) -> float:
    kind = node.op_type
    if kind in ("Conv", "ConvInteger", "QLinearConv"):
        weight = shapes[node.input[3 if kind == "QLinearConv" else 1]]
        return 2.0 * math.prod(_known(node, shapes)) * math.prod(weight[1:])
    if kind == "Gemm":  # of one row: whatever made it may have left the batch's size unknown
        return 2.0 * math.prod(shapes[node.input[1]])
    if kind in ("MatMul", "MatMulInteger", "QLinearMatMul"):
        return 2.0 * math.prod(_known(node, shapes)) * shapes[node.input[0]][-1]
    return 0.0


def _known(node: Any, shapes: dict[str, list[int]]) -> list[int]:
    shape = shapes.get(node.output[0], [])
    if not shape or not all(shape):
        raise SystemExit(f"the shape of {node.op_type} {node.name} cannot be inferred; FLOPs are not counted")
    return shape
