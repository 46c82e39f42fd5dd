"""Linear heads and an ONNX backbone as the two towers of a bundle. Needs the package onnx (extra ``build``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.reasons import first_line
from bleep_cli.errors import ReferenceError
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.looks import LooksHead
from bleep_cli.fitting.onnx_file import onnx_package
from bleep_cli.fitting.repeats import without_repeats
from bleep_cli.types import F32

if TYPE_CHECKING:
    import onnx

OPSET = 20
IR_VERSION = 10
Given = tuple[str, int, list[str | int]]
"""An input: its name, the type of its values, its shape."""


def image_tower(backbone: bytes, px: int, fields: int, head: LinearHead, looks: LooksHead | None = None) -> bytes:
    """``u8[batch, px, px, 3 * fields]`` → unit vectors ``f32[batch, k]``: every field through the backbone, their
    features side by side, then the head. With ``looks`` its values are a second output, ``looks`` f32[batch, l].

    ``backbone`` takes one field, ``u8[batch, px, px, 3]``, and gives ``f32[batch, d]``. Raises ``ReferenceError``
    for one of several inputs or outputs.
    """
    model = onnx_package().load_from_string(backbone)
    d, k = head.weights.shape
    if looks is None:
        return _by_field(model, px, fields, _linear("features"), (d, k), constants=_weights(head))
    nodes, constants = looks_nodes(looks, "tiles", "features")
    return _by_field(
        model,
        px,
        fields,
        [*_linear("features"), *nodes],
        (d, k),
        constants={**_weights(head), **constants},
        more={"looks": looks.dim},
    )


def tower_with_head(backbone: bytes, px: int, fields: int, head: bytes) -> bytes:
    """The same with a head that is an ONNX model itself, ``f32[batch, fields * d]`` → ``f32[batch, k]``.

    Both are brought to the newer opset of the two. Raises ``ReferenceError`` where the package onnx cannot do so.
    """
    onnx = onnx_package()
    model, top = of_one_opset(onnx.load_from_string(backbone), onnx.load_from_string(head))
    given, result = ends_of(top)
    sizes = [value.type.tensor_type.shape.dim[1].dim_value for value in (*top.graph.input, *top.graph.output)]
    prefix(top.graph, "head/")
    nodes = [
        node_of("Identity", ["features"], [f"head/{given}"]),
        *top.graph.node,
        node_of("Identity", [f"head/{result}"], ["embedding"]),
    ]
    return _by_field(model, px, fields, nodes, (sizes[0], sizes[-1]), parts=[top])


def _by_field(
    model: onnx.ModelProto,
    px: int,
    fields: int,
    head: Sequence[onnx.NodeProto],
    sizes: tuple[int, int],
    *,
    constants: Mapping[str, np.ndarray] | None = None,
    parts: Sequence[onnx.ModelProto] = (),
    more: Mapping[str, int] | None = None,
) -> bytes:
    """Every field of view through a model, then ``head`` from ``features`` f32[b, d] to ``embedding`` f32[b, k];
    ``sizes`` are d and k, ``parts`` the models that its nodes are of, ``more`` as :func:`model_of` takes it."""
    onnx = onnx_package()
    tiles, features = ends_of(model)
    prefix(model.graph, "backbone/")
    before = [
        node_of("Reshape", ["tiles", "by_field"], ["split"]),
        node_of("Transpose", ["split"], ["stacked"], perm=[0, 3, 1, 2, 4]),
        node_of("Reshape", ["stacked", "one_field"], [f"backbone/{tiles}"]),
    ]
    after = [node_of("Reshape", [f"backbone/{features}", "side_by_side"], ["features"]), *head]
    shapes = {
        "by_field": np.array([0, px, px, fields, 3], np.int64),
        "one_field": np.array([-1, px, px, 3], np.int64),
        "side_by_side": np.array([-1, sizes[0]], np.int64),
    }
    given: Given = ("tiles", onnx.TensorProto.UINT8, ["batch", px, px, 3 * fields])
    nodes = [*before, *model.graph.node, *after]
    return model_of(nodes, {**shapes, **(constants or {})}, given, sizes[1], [model, *parts], more or {})


def expression_tower(head: LinearHead) -> bytes:
    """log1p on the panel ``f32[batch, p]`` → unit vectors ``f32[batch, k]``."""
    onnx = onnx_package()
    given: Given = ("expression", onnx.TensorProto.FLOAT, ["batch", head.weights.shape[0]])
    return model_of(_linear("expression"), _weights(head), given, head.weights.shape[1])


def _linear(name: str) -> list[onnx.NodeProto]:
    return [
        node_of("Gemm", [name, "weights", "bias"], ["projected"]),
        node_of("LpNormalization", ["projected"], ["embedding"], axis=1, p=2),
    ]


def _weights(head: LinearHead) -> dict[str, F32]:
    """``(x - mean) W`` as ``x W + bias``."""
    bias = -(head.mean.astype(np.float64) @ head.weights.astype(np.float64))
    return {"weights": head.weights, "bias": bias.astype(np.float32)}


def looks_nodes(looks: LooksHead, tiles: str, features: str) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Nodes from ``tiles`` and ``features`` to ``looks`` f32[b, l], and the constants that they take."""
    floating = onnx_package().TensorProto.FLOAT
    parts = {"look": looks.features, "stain": looks.stain}
    constants: dict[str, np.ndarray] = {
        "look/first": np.array([0], np.int64),
        "look/channels": np.array([3], np.int64),
        "look/last_axis": np.array([3], np.int64),
        "look/columns": np.array([looks.features.weights.shape[0]], np.int64),
        "look/feature_axis": np.array([1], np.int64),
        "look/one": np.array(1, np.float32),
        "look/scale": np.array(1 / 256, np.float32),
    }
    for part, head in parts.items():
        constants |= {f"{part}/{name}": value for name, value in _weights(head).items()}

    def mean(given: str, result: str) -> list[onnx.NodeProto]:
        pooled = node_of("GlobalAveragePool", [given], [f"{result}/pooled"])
        return [pooled, node_of("Flatten", [f"{result}/pooled"], [result], axis=1)]

    nodes = [
        node_of("Slice", [tiles, "look/first", "look/channels", "look/last_axis"], ["stain/smallest"]),
        node_of("Cast", ["stain/smallest"], ["stain/raw"], to=floating),
        node_of("Transpose", ["stain/raw"], ["stain/planes"], perm=[0, 3, 1, 2]),
        node_of("Add", ["stain/planes", "look/one"], ["stain/above"]),
        node_of("Mul", ["stain/above", "look/scale"], ["stain/light"]),
        node_of("Log", ["stain/light"], ["stain/log"]),
        node_of("Neg", ["stain/log"], ["stain/density"]),
        *mean("stain/density", "stain/mean"),
        node_of("Mul", ["stain/density", "stain/density"], ["stain/squares"]),
        *mean("stain/squares", "stain/mean_square"),
        node_of("Mul", ["stain/mean", "stain/mean"], ["stain/square"]),
        node_of("Sub", ["stain/mean_square", "stain/square"], ["stain/difference"]),
        node_of("Relu", ["stain/difference"], ["stain/variance"]),
        node_of("Sqrt", ["stain/variance"], ["stain/sd"]),
        node_of("Concat", ["stain/mean", "stain/sd"], ["stain/values"], axis=1),
        node_of("Slice", [features, "look/first", "look/columns", "look/feature_axis"], ["look/values"]),
        *(node_of("Gemm", [f"{p}/values", f"{p}/weights", f"{p}/bias"], [f"{p}/white"]) for p in parts),
        node_of("Concat", [f"{part}/white" for part in parts], ["looks"], axis=1),
    ]
    return nodes, constants


def node_of(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    """A node, named after what it gives."""
    node: onnx.NodeProto = onnx_package().helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)
    return node


def prefix(graph: onnx.GraphProto, before: str) -> None:
    """Puts ``before`` in front of every name in a graph and the graphs inside it, in place.

    onnx.compose does so too, but forgets weights that only an inner graph takes.
    """
    for node in graph.node:  # without a name are nodes that nobody named, and inputs left out
        node.name = node.name and before + node.name
        node.input[:] = [name and before + name for name in node.input]
        node.output[:] = [name and before + name for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                prefix(inner, before)
    for named in (*graph.initializer, *graph.input, *graph.output):
        named.name = before + named.name


def ends_of(model: onnx.ModelProto) -> tuple[str, str]:
    """Names of the one input and the one output."""
    stored = {initializer.name for initializer in model.graph.initializer}
    inputs = [value.name for value in model.graph.input if value.name not in stored]
    outputs = [value.name for value in model.graph.output]
    if len(inputs) != 1 or len(outputs) != 1:
        raise ReferenceError(f"a backbone has one input and one output, this has {len(inputs)} and {len(outputs)}")
    return inputs[0], outputs[0]


def of_one_opset(*models: onnx.ModelProto) -> list[onnx.ModelProto]:
    """Models whose operators are all those of the newest opset among them."""
    opsets = [next(entry.version for entry in model.opset_import if not entry.domain) for model in models]
    newest = max(opsets)
    try:
        return [
            model if opset == newest else onnx_package().version_converter.convert_version(model, newest)
            for model, opset in zip(models, opsets, strict=True)
        ]
    except Exception as error:  # onnx's converter raises what it likes
        raise ReferenceError(
            f"a backbone of opset {min(opsets)} cannot be brought to {newest} ({first_line(error)}); export it "
            f"with opset {newest}"
        ) from error


def model_of(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, np.ndarray],
    given: Given,
    dim: int,
    parts: Sequence[onnx.ModelProto] = (),
    more: Mapping[str, int] = MappingProxyType({}),
    said: Mapping[str, str] = MappingProxyType({}),
    *,
    once: bool = False,
) -> bytes:
    """A model from one input, ``given`` by name, type and shape, to ``embedding`` f32[batch, dim] and further
    outputs, their lengths by name; ``said`` are its metadata.

    ``parts`` are the models that ``nodes`` were taken of: their weights and operator sets go with them. With
    ``once`` what several of them do alike is done once. Raises
    ``ReferenceError`` for nodes that are no valid graph.
    """
    onnx = onnx_package()
    helper = onnx.helper
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info(*given)],
        [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", size])
            for name, size in {"embedding": dim, **more}.items()
        ],
        [
            *(tensor for part in parts for tensor in part.graph.initializer),
            *(onnx.numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    opsets = {entry.domain: entry.version for part in parts for entry in part.opset_import} or {"": OPSET}
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())],
        ir_version=max([IR_VERSION, *(part.ir_version for part in parts)]),
        producer_name="bleep",
    )
    if said:
        helper.set_model_props(model, dict(said))
    if once:
        without_repeats(model.graph)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ReferenceError(f"the backbone is no valid ONNX model ({first_line(error)})") from error
    return bytes(model.SerializeToString(deterministic=True))
