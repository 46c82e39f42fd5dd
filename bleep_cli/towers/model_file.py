"""An ONNX model's bytes, looked at before ONNX Runtime loads them: its operators, and where its weights lie.

ONNX is Protocol Buffers, and only a few fields are of interest here; they are read without the package onnx, which
predicting does not need. What is let in: operators of ONNX itself, and those of ONNX Runtime that quantisation and
fusion put in (:data:`CONTRIB_OPERATORS`), all weights inside the file, and no loops, so that a batch ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from bleep_cli.limits import MOST_GRAPH_DEPTH, MOST_MODEL_BYTES, MOST_NODES

LEAST_OPSET, MOST_OPSET = 7, 99
"""Of ONNX's own operators; ONNX Runtime refuses those that it does not know itself."""
STANDARD = ("", "ai.onnx")
CONTRIB_DOMAIN = "com.microsoft"
CONTRIB_OPERATORS = (
    "Attention BiasGelu DequantizeLinear DynamicQuantizeMatMul FastGelu FusedConv FusedGemm FusedMatMul "
    "Gelu LayerNormalization MatMulIntegerToFloat MultiHeadAttention NhwcMaxPool QAttention QGemm "
    "QLinearAdd QLinearAveragePool QLinearConcat QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu "
    "QLinearMul QLinearReduceMean QLinearSigmoid QLinearSoftmax QuantizeLinear QuickGelu "
    "SkipLayerNormalization "
)
"""Operators of that domain."""
REFUSED = ("Loop", "Scan")
"""What could go on for ever."""

# Numbers of fields, by the message that they are of (onnx.proto).
MODEL_GRAPH, MODEL_OPSET, MODEL_FUNCTION = 7, 8, 25
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
FUNCTION_NAME, FUNCTION_NODE, FUNCTION_OPSET, FUNCTION_DOMAIN = 1, 7, 9, 10
NODE_OP, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = 22, 23
SPARSE_PARTS = (1, 2)
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Name = tuple[str, str]
"""Domain and operator."""


def check_model(model: bytes) -> None:
    """``ValueError`` for an ONNX model of more than is let in, or bytes that are none."""
    if len(model) > MOST_MODEL_BYTES:
        raise ValueError(f"{len(model)} bytes; at most {MOST_MODEL_BYTES} are read")
    own, graph = Counter[Name](), False
    functions: dict[Name, Counter[Name]] = {}
    for number, value in _fields(memoryview(model)):
        if number == MODEL_OPSET:
            _check_opset(_bytes(value))
        elif number == MODEL_GRAPH:
            _graph(_bytes(value), own, 0)
            graph = True
        elif number == MODEL_FUNCTION:
            name, calls = _function(_bytes(value))
            functions.setdefault(name, Counter()).update(
                calls
            )  # of one name there may be several, for other inputs
    if not graph:
        raise ValueError("no ONNX model")
    for calls in (own, *functions.values()):
        for name in calls:
            if name not in functions:
                _check_operator(name)
    nodes = _count(own, functions, {}, ())
    if nodes > MOST_NODES:
        raise ValueError(f"{nodes} operators; at most {MOST_NODES} are read")


def _check_operator(name: Name) -> None:
    domain, operator = name
    if domain in STANDARD and operator in REFUSED:
        raise ValueError(f"it holds the operator {operator}, which need not end")
    if domain not in STANDARD and not (domain == CONTRIB_DOMAIN and operator in CONTRIB_OPERATORS.split()):
        raise ValueError(f"it holds the operator {operator:.60} of {domain:.60}, which is not let in")


def _check_opset(opset: memoryview) -> None:
    domain, version = "", 0
    for number, value in _fields(opset):
        if number == OPSET_DOMAIN:
            domain = _text(value)
        elif number == OPSET_VERSION and isinstance(value, int):
            version = value
    if domain in STANDARD and not LEAST_OPSET <= version <= MOST_OPSET:
        raise ValueError(f"opset {version}; {LEAST_OPSET} and later are read")


def _count(
    calls: Counter[Name], functions: dict[Name, Counter[Name]], done: dict[Name, int], within: tuple[Name, ...]
) -> int:
    """Operators in all, those of functions as often as they are called."""
    total = 0
    for name, times in calls.items():
        if name in within or len(within) > MOST_GRAPH_DEPTH:
            raise ValueError(f"its function {name[1]:.60} calls itself")
        if name in functions and name not in done:
            done[name] = _count(functions[name], functions, done, (*within, name))
        total += times * (1 + done.get(name, 0))
    return total


def _function(function: memoryview) -> tuple[Name, Counter[Name]]:
    name, domain, calls = "", "", Counter[Name]()
    for number, value in _fields(function):
        if number == FUNCTION_NAME:
            name = _text(value)
        elif number == FUNCTION_DOMAIN:
            domain = _text(value)
        elif number == FUNCTION_OPSET:
            _check_opset(_bytes(value))
        elif number == FUNCTION_NODE:
            _node(_bytes(value), calls, 0)
    if domain in (*STANDARD, CONTRIB_DOMAIN):
        raise ValueError(f"its function {name:.60} bears the name of an operator")
    return (domain, name), calls


def _graph(graph: memoryview, calls: Counter[Name], depth: int) -> None:
    if depth > MOST_GRAPH_DEPTH:
        raise ValueError(f"graphs more than {MOST_GRAPH_DEPTH} deep")
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            _node(_bytes(value), calls, depth)
        elif number == GRAPH_INITIALIZER:
            _tensor(_bytes(value))
        elif number == GRAPH_SPARSE:
            _sparse(_bytes(value))


def _node(node: memoryview, calls: Counter[Name], depth: int) -> None:
    operator, domain = "", ""
    for number, value in _fields(node):
        if number == NODE_OP:
            operator = _text(value)
        elif number == NODE_DOMAIN:
            domain = _text(value)
        elif number == NODE_ATTRIBUTE:
            _attribute(_bytes(value), calls, depth)
    calls[domain, operator] += 1
    if calls.total() > MOST_NODES:
        raise ValueError(f"more than {MOST_NODES} operators")


def _attribute(attribute: memoryview, calls: Counter[Name], depth: int) -> None:
    for number, value in _fields(attribute):
        if number in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _tensor(_bytes(value))
        elif number in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            _graph(_bytes(value), calls, depth + 1)
        elif number in (ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES):
            _sparse(_bytes(value))


def _sparse(sparse: memoryview) -> None:
    for number, value in _fields(sparse):
        if number in SPARSE_PARTS:
            _tensor(_bytes(value))


def _tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and value != 0):
            raise ValueError("its weights lie in another file; all have to be inside")


# --- Protocol Buffers


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of every field of a message, in its order; bytes are not copied."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {FIXED64: 8, FIXED32: 4}.get(kind, 0)
        if kind == BYTES:
            size, at = _varint(message, at)
        elif not size:
            raise ValueError("no ONNX model")
        if at + size > end:
            raise ValueError("no ONNX model: it ends too early")
        yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise ValueError("no ONNX model: it ends too early")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("no ONNX model")


def _bytes(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("no ONNX model")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_bytes(value)).decode("utf-8")
