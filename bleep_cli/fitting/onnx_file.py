"""Somebody's ONNX model, read as untrusted: cut at the tensors that are wanted, its weights beside it read in.

The format is from onnx.proto; a model's weights may lie in further files of its folder ("external data").
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.reasons import did_you_mean, first_line, reason
from bleep_cli.errors import DeviceError, ReferenceError, UsageError

if TYPE_CHECKING:
    import onnx

OLDEST_OPSET = 11
MOST_BYTES = 2**31 - 2**25  # protobuf's limit for one model, less room for the head and the graph around it


def onnx_package() -> Any:
    """The package onnx. Raises ``DeviceError`` where it is not installed."""
    try:
        return importlib.import_module("onnx")
    except ImportError as error:
        raise DeviceError(
            'fitting towers needs the package onnx; install BLEEP with its extra build: pip install ".[build]"'
        ) from error


def read_cut(path: Path, tensors: Sequence[str]) -> onnx.ModelProto:
    """The part of a model that computes ``tensors``, by default its one output, with all weights inside.

    Raises ``UsageError`` for a file or a tensor that is not there, ``ReferenceError`` for what is no ONNX model,
    is too old, lacks its weights or is too large for the tower of a bundle.
    """
    package = onnx_package()
    try:
        model: onnx.ModelProto = package.load_from_string(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read ({reason(error)})") from error
    except Exception as error:  # protobuf's implementations have errors of their own
        raise ReferenceError(f"{path.name} is no ONNX model ({first_line(error)})") from error
    for entry in model.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain  # two names of one thing
    opset = max((entry.version for entry in model.opset_import if not entry.domain), default=0)
    if not model.graph.node or opset < OLDEST_OPSET:
        told = f"its operators are those of opset {opset}" if model.graph.node else "it holds no graph"
        raise ReferenceError(f"{path.name}: {told}; an ONNX model of opset {OLDEST_OPSET} or later is needed")
    if model.functions:
        model = importlib.import_module("onnx.inliner").inline_local_functions(model)
    _cut(model, tensors, path.name)
    _load_weights(model, path)
    return model


def _cut(model: onnx.ModelProto, tensors: Sequence[str], name: str) -> None:
    """Takes out of the graph what is not needed, in place: a large model is not copied."""
    onnx, graph = onnx_package(), model.graph
    made = {output for node in graph.node for output in node.output if output}
    outputs = [value.name for value in graph.output]
    if not tensors and len(outputs) != 1:
        raise UsageError(
            f"{name} has {len(outputs)} outputs; name those to take, as in {name}:{','.join(outputs[:2])}"
        )
    wanted = list(tensors or outputs)
    for tensor in wanted:
        if tensor not in made:
            raise UsageError(f"{name} computes no tensor {tensor}{did_you_mean(tensor, made)}")
    needed = set(wanted)
    for i in range(len(graph.node) - 1, -1, -1):
        if needed.isdisjoint(graph.node[i].output):
            del graph.node[i]
        else:
            needed.update(_reads(graph.node[i]))
    if any(sparse.values.name in needed for sparse in graph.sparse_initializer):
        raise ReferenceError(f"{name} stores sparse weights, which are not read here")
    del graph.sparse_initializer[:], graph.value_info[:], graph.output[:], graph.quantization_annotation[:]
    for stored in (graph.initializer, graph.input):
        for i in range(len(stored) - 1, -1, -1):
            if stored[i].name not in needed:
                del stored[i]
    graph.output.extend(onnx.helper.make_empty_tensor_value_info(tensor) for tensor in wanted)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """What a node takes, and what the graphs inside it take from outside."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)
            yield from (value.name for value in graph.output)


def _load_weights(model: onnx.ModelProto, path: Path) -> None:
    """Reads in the weights that lie in files beside the model."""
    onnx = onnx_package()
    outside = [t for t in model.graph.initializer if onnx.external_data_helper.uses_external_data(t)]
    size = model.ByteSize() + sum(_bytes(tensor) for tensor in outside)
    if size > MOST_BYTES:
        raise ReferenceError(
            f"{path.name}: {size / 1e9:.1f} GB of weights up to these tensors, and a tower holds 2 GB; name "
            "earlier tensors, or export the model in float16"
        )
    try:
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
    except Exception as error:  # OSError, and onnx's own for a path that leads out of the folder
        files = {e.value for t in outside for e in t.external_data if e.key == "location"}
        told = ", ".join(sorted(Path(file).name for file in files)) or "another file"
        raise ReferenceError(
            f"{path.name}: its weights are in {told}, which must lie beside it and could not be read "
            f"({type(error).__name__})"
        ) from error


def _bytes(tensor: onnx.TensorProto) -> int:
    dtype = np.dtype(onnx_package().helper.tensor_dtype_to_np_dtype(tensor.data_type))
    return math.prod(map(int, tensor.dims)) * int(dtype.itemsize)
