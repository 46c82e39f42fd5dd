"""A torch module → one self-contained ONNX model, as bytes."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

OPSET = 20
HALF_MIN_SIZE = 1024  # smaller weights are not worth halving


def to_onnx(graph: nn.Module, example: Tensor, input_name: str, *, half_weights: bool = False) -> bytes:
    """The graph as one ONNX model with a free batch size; ``half_weights`` stores large weights as float16."""
    program = torch.onnx.export(
        copy.deepcopy(graph).cpu().eval(),
        (example.cpu(),),
        dynamo=True,
        external_data=False,
        opset_version=OPSET,
        input_names=[input_name],
        output_names=["embedding"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    data = without_traces(bytes(program.model_proto.SerializeToString()))
    return _halve(data) if half_weights else data


def without_traces(data: bytes) -> bytes:
    """The model without the exporter's notes of where in whose source tree each node came from."""
    import onnx

    model = onnx.load_from_string(data)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        del part.metadata_props[:]
        part.doc_string = ""
    return bytes(model.SerializeToString())


def _halve(data: bytes) -> bytes:
    """Float32 weights stored as float16 behind a Cast; ONNX Runtime folds it away when it loads the model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load_from_string(data)
    casts, kept = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < HALF_MIN_SIZE:
            kept.append(tensor)
            continue
        kept.append(numpy_helper.from_array(values.astype(np.float16), tensor.name + "_f16"))
        casts.append(helper.make_node("Cast", [tensor.name + "_f16"], [tensor.name], to=TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.initializer[:], model.graph.node[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend([*casts, *nodes])
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
