"""The image tower at lower precision, as ONNX: int8 for CPUs, float16 for GPUs.

int8 is static: ranges of activations are measured once, on tiles of the training sections, and written into the
graph as QuantizeLinear/DequantizeLinear pairs. Weights have a scale per output channel. Activations are unsigned,
what ONNX Runtime's x86 kernels are quick with. The projection head, whose rows the neighbours are found by, stays
in float32; it is a small part of the work.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import U8
from bleep_train.export.graph import ExportError

if TYPE_CHECKING:
    import onnx

# An activation that is not among them keeps a float32 value between two quantised layers, at twice the traffic.
QUANTISED = ("Conv", "MatMul", "Gemm", "Add", "Clip", "Relu", "MaxPool", "Concat")
WEIGHTED = ("Conv", "MatMul", "Gemm")
BATCH = 4  # tiles whose activations are held at once while ranges are measured


def int8_tower(image: bytes, tiles: U8) -> bytes:
    """The image tower with int8 layers, calibrated on ``tiles`` u8[n, p, p, c]; same input and output.

    Raises ``ExportError`` for a tower that has no layer to quantise.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory(prefix="bleep-int8-") as name, _quiet():
        folder = Path(name)
        prepared = _prepared(image, folder)
        head = _vector_nodes(prepared)
        if all(node.name in head for node in prepared.graph.node if node.op_type in WEIGHTED):
            raise ExportError("the image tower has no layer that int8 could stand in for")
        out = folder / "int8.onnx"
        quantize_static(
            folder / "prepared.onnx",
            out,
            _Calibration(tiles, prepared.graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=head,
        )
        return out.read_bytes()


def fp16_tower(image: bytes) -> bytes:
    """The image tower in float16, with the same input and a float32 output."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = onnx.shape_inference.infer_shapes(onnx.load_from_string(image))
    half = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=True)
    return bytes(half.SerializeToString())


def _prepared(image: bytes, folder: Path) -> onnx.ModelProto:
    """The tower with its normalisation layers folded into the convolutions and all shapes known; also on disk."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    (folder / "image.onnx").write_bytes(image)
    quant_pre_process(folder / "image.onnx", folder / "prepared.onnx", skip_symbolic_shape=True)
    return onnx.load(folder / "prepared.onnx")


def _vector_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that give one vector per tile, [b, d], and no map: the projection head."""
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*model.graph.value_info, *model.graph.output)}
    return [node.name for node in model.graph.node if ranks.get(node.output[0], 0) == 2]


class _Calibration:
    """Feeds tiles to ONNX Runtime's calibration, ``BATCH`` at a time."""

    def __init__(self, tiles: U8, input_name: str) -> None:
        self._batches = iter(
            {input_name: np.ascontiguousarray(tiles[start : start + BATCH])}
            for start in range(0, len(tiles), BATCH)
        )

    def get_next(self) -> dict[str, U8] | None:
        """The next batch, None at the end."""
        return next(self._batches, None)

    def __iter__(self) -> Iterator[dict[str, U8]]:
        return self._batches


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime's tools log to the root logger, advice that is followed here among it."""
    logger = logging.getLogger()
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
