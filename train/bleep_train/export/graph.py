"""A torch module → one self-contained ONNX model, as bytes, proved to give what the module gives."""

from __future__ import annotations

import copy
from itertools import chain

import numpy as np
import torch
from torch import Tensor, nn

from bleep_cli.errors import BleepError
from bleep_cli.towers.session import make_session
from bleep_train.backbones.build import Normalised

OPSET = 20
HALF_MIN_SIZE = 1024  # smaller weights are not worth halving
MAX_BYTES = 2**31 - 2**24  # protobuf's limit for one file, less room for the graph
MAX_DRIFT = 1e-3  # between torch and ONNX Runtime, as a share of the largest value
PROOF_ROWS = 3  # not the batch that was traced


class ExportError(BleepError):
    """A model that cannot become ONNX, or whose ONNX does not give what the trained one gives."""


def to_onnx(graph: nn.Module, example: Tensor, input_name: str, *, half_weights: bool = False) -> bytes:
    """The graph as one ONNX model with a free batch size; ``half_weights`` stores large weights as float16.

    Raises ``ExportError`` that names the backbone and the reason: weights too large for one file, operations or
    control flow that ONNX cannot express, a result that ONNX Runtime does not repeat on random input.
    """
    what = _named(graph)
    size = sum(t.numel() * t.element_size() for t in chain(graph.parameters(), graph.buffers()))
    if size > MAX_BYTES:
        raise ExportError(f"{what} cannot be exported: {size / 1e9:.1f} GB of weights, an ONNX file holds 2 GB")
    graph = copy.deepcopy(graph).cpu().eval()
    try:
        program = torch.onnx.export(
            graph,
            (example.cpu(),),
            dynamo=True,
            external_data=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=["embedding"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        first = _first(error)
        ours = isinstance(first, BleepError)  # raised by a backbone, and says all by itself
        said = str(first) if ours else f"{what} cannot be exported to ONNX: {_line(first)}"
        raise ExportError(said) from error
    assert program is not None
    data = without_traces(bytes(program.model_proto.SerializeToString()))
    _prove(graph, data, example, what)
    return _halve(data) if half_weights else data


def _named(graph: nn.Module) -> str:
    """What a message calls the graph: its backbone if it has one."""
    names = [f"backbone {module.name}" for module in graph.modules() if isinstance(module, Normalised)]
    return names[0] if names else type(graph).__name__


def _first(error: BaseException) -> BaseException:
    """The error that all others were made from, or one of our own on the way there."""
    while error.__cause__ is not None and not isinstance(error, BleepError):
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _prove(graph: nn.Module, data: bytes, example: Tensor, what: str) -> None:
    """Raises ``ExportError`` where ONNX Runtime refuses the model or does not repeat torch on random input."""
    shape = (PROOF_ROWS, *example.shape[1:])
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, shape, np.uint8) if example.dtype == torch.uint8 else rng.random(shape, np.float32)
    with torch.inference_mode():
        expected = graph(torch.from_numpy(rows)).numpy()
    try:
        session, _ = make_session(data, "cpu", what)
        (given,) = session.get_inputs()
        (got,) = session.run(None, {given.name: rows})
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ExportError(f"{what} became an ONNX model that does not run: {_line(error)}") from error
    if not np.isfinite(expected).all():
        raise ExportError(f"{what} gives NaN or infinity for random input: its training or its weights went wrong")
    scale = float(np.abs(expected).max())
    if len(expected) != len(rows) or got.shape != expected.shape:
        raise ExportError(f"{what} gives {expected.shape} in torch and {got.shape} as ONNX for {len(rows)} rows")
    drift = float(np.abs(got - expected).max())
    if not drift <= MAX_DRIFT * scale:  # NaN is not
        raise ExportError(
            f"{what} gives something else as ONNX: |Δ| {drift:.1e} on values up to {scale:.1e}, allowed is "
            f"{MAX_DRIFT * scale:.1e}; operations that depend on chance or on the batch are a usual cause"
        )


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
