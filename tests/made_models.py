"""Small image encoders as ONNX, of every opset and in every shape that people export them in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from bleep_cli.types import F32, U8

PX, D = 16, 6
MAP, TOKENS, POOLED = "stem/map", "block/tokens", "pooled"
IMAGENET = (np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]))
KINDS = {TensorProto.FLOAT: np.float32, TensorProto.FLOAT16: np.float16, TensorProto.UINT8: np.uint8}


def encoder(
    opset: int = 17,
    *,
    kind: int = TensorProto.FLOAT,
    layout: str = "nchw",
    shape: list[Any] | None = None,
    outputs: tuple[str, ...] = (POOLED,),
    change: Callable[[onnx.GraphProto], None] | None = None,
) -> onnx.ModelProto:
    """A convolution to ``MAP`` [b, 6, 4, 4], its 16 ``TOKENS`` [b, 16, 6], and a layer on their maximum,
    ``POOLED`` [b, 6]; float weights of a fixed seed. ``change`` may do to the graph what it likes."""
    rng, inside = np.random.default_rng(1), TensorProto.FLOAT if kind == TensorProto.UINT8 else kind
    weights = {
        "kernel": rng.normal(size=(D, 3, 4, 4)) / 7,
        "mix": rng.normal(size=(D, D)),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["image"], ["values"], to=inside),
        node("Transpose", ["values"], ["planes"], perm=[0, 1, 2, 3] if layout == "nchw" else [0, 3, 1, 2]),
        node("Conv", ["planes", "kernel"], ["convolved"], strides=[4, 4]),
        node("Relu", ["convolved"], [MAP]),
        node("Reshape", [MAP, "flat"], ["rows"]),
        node("Transpose", ["rows"], [TOKENS], perm=[0, 2, 1]),
        node("GlobalMaxPool", [MAP], ["largest"]),
        node("Flatten", ["largest"], ["vector"]),
        node("MatMul", ["vector", "mix"], [POOLED]),
        node("Relu", [POOLED], ["unused"]),
    ]
    own = ["batch", 3, PX, PX] if layout == "nchw" else ["batch", PX, PX, 3]
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("image", kind, shape or own)],
        [helper.make_tensor_value_info(name, inside, None) for name in outputs],
        [
            *(numpy_helper.from_array(value.astype(KINDS[inside]), name) for name, value in weights.items()),
            numpy_helper.from_array(np.array([0, D, -1]), "flat"),
        ],
    )
    if change is not None:
        change(graph)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(folder: Path, model: onnx.ModelProto, settings: str = "") -> Path:
    """``own.onnx`` in the folder, and beside it a TOML file where there are settings."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "own.onnx").write_bytes(model.SerializeToString())
    if settings:
        (folder / "own.toml").write_text(settings, encoding="utf-8")
    return folder / "own.onnx"


def made_tiles(count: int = 5, px: int = PX) -> U8:
    return np.random.default_rng(2).integers(0, 256, (count, px, px, 3), np.uint8)


def run_alone(path: Path, tensor: str, inputs: np.ndarray) -> F32:
    """A tensor of the file as ONNX Runtime gives it of inputs that are ready."""
    model = onnx.load(path)
    model.graph.output.append(helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0].name
    return np.asarray(session.run([tensor], {given: inputs})[0]).astype(np.float32)


def normalised(tiles: U8, mean: np.ndarray = IMAGENET[0], std: np.ndarray = IMAGENET[1]) -> F32:
    """Tiles as most encoders take them: scaled to [0, 1], normalised, channels first."""
    return ((tiles / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
