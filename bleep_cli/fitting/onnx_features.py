"""Somebody's ONNX model between its pre-processing and a pooling: tiles u8 in, one row of features out.

Every operator that is put around the model means the same from opset 11 on: its own opset is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.reasons import first_line
from bleep_cli.errors import DeviceError, ReferenceError, UsageError
from bleep_cli.fitting.graphs import Given, model_of, node_of, prefix
from bleep_cli.fitting.onnx_file import onnx_package
from bleep_cli.fitting.onnx_settings import SCALING, OnnxSettings
from bleep_cli.towers.session import make_session
from bleep_cli.types import F32

if TYPE_CHECKING:
    import onnx

DEFAULT_PX = 224
SAME = 1e-2  # as a share of the largest value: what one tile's features may owe to the tile beside it (float16)
KINDS = {"FLOAT": np.float32, "FLOAT16": np.float16, "UINT8": np.uint8}


@dataclass(frozen=True)
class ModelInput:
    """What a model takes, settled between its graph and the settings."""

    name: str
    """Of the graph's input."""
    kind: str
    """Of its values: ``FLOAT``, ``FLOAT16`` or ``UINT8``."""
    px: int
    """Edge of a tile."""
    nchw: bool
    """Whether channels come before rows and columns."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one tile."""
        return (3, self.px, self.px) if self.nchw else (self.px, self.px, 3)

    def record(self) -> dict[str, Any]:
        """What a bundle says in place of the settings' own keys."""
        inside = dict.fromkeys(SCALING) if self.kind == "UINT8" else {}
        return {"px": self.px, "layout": "nchw" if self.nchw else "nhwc", **inside}


def settle_input(model: onnx.ModelProto, settings: OnnxSettings, name: str) -> ModelInput:
    """The one input, its axes given the sizes that were settled; the batch left open.

    Raises ``ReferenceError`` for a model that takes no batch of colour tiles, ``UsageError`` for settings that
    contradict it.
    """
    onnx = onnx_package()
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ReferenceError(f"{name} takes {len(inputs)} inputs; a batch of tiles must be the only one")
    tensor = inputs[0].type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type) if tensor.elem_type else "nothing known"
    axes = [axis.dim_value if axis.HasField("dim_value") else None for axis in tensor.shape.dim]
    if kind not in KINDS or len(axes) != 4:
        raise ReferenceError(f"{name} takes {kind} of {len(axes)} axes, not tiles (float32, float16 or u8)")
    if kind == "UINT8" and settings.stated & SCALING:
        stated = ", ".join(sorted(settings.stated & SCALING))
        raise UsageError(f"{name} takes bytes and scales them itself; leave out {stated}")
    nchw = settings.layout != "nhwc" if settings.layout else not (axes[3] == 3 and axes[1] != 3)
    if axes[1 if nchw else 3] not in (None, 3):
        raise ReferenceError(f"{name} takes {axes} in place of three channels; state its layout (nchw, nhwc)")
    fixed = {axis for axis in (axes[2:] if nchw else axes[1:3]) if axis is not None}
    if len(fixed) > 1:
        raise ReferenceError(f"{name} takes tiles of {axes}, not squares")
    own = next(iter(fixed), None)
    if own and settings.px and own != settings.px:
        raise UsageError(f"{name} takes tiles of {own} px; px = {settings.px} does not fit it")
    found = ModelInput(inputs[0].name, kind, own or settings.px or DEFAULT_PX, nchw)
    tensor.shape.dim[0].dim_param = "batch"
    for axis, size in zip(list(tensor.shape.dim)[1:], found.shape, strict=True):
        axis.dim_value = size
    return found


def shapes_of(model: onnx.ModelProto, given: ModelInput, name: str) -> list[tuple[int, ...]]:
    """The shape, after the batch, of every tensor that the model ends in, found by running it on three tiles.

    Raises ``ReferenceError`` for a model that does not run, whose tensors are no features, or that gives a tile
    other features in other company.
    """
    rng = np.random.default_rng(0)
    low, high = (0, 256) if given.kind == "UINT8" else (-1, 1)
    tiles = rng.uniform(low, high, (2, *given.shape)).astype(KINDS[given.kind])
    names = [value.name for value in model.graph.output]
    try:
        session, _ = make_session(model.SerializeToString(), "cpu", name)
        both: Sequence[Any] = session.run(names, {given.name: tiles})
        alone: Sequence[Any] = session.run(names, {given.name: tiles[1:]})
    except DeviceError:
        raise
    except Exception as error:  # ONNX Runtime's errors share no base class
        told = first_line(error.__cause__ or error)
        raise ReferenceError(
            f"{name} does not run on a batch of tiles of {given.px} px ({told}); export it with an open batch, "
            "and state px where it takes another size"
        ) from error
    for tensor, two, one in zip(names, both, alone, strict=True):
        _check_features(np.asarray(two), np.asarray(one), f"{name}: tensor {tensor}")
    return [np.asarray(two).shape[1:] for two in both]


def _check_features(two: F32, one: F32, where: str) -> None:
    if two.dtype.kind != "f" or two.ndim not in (2, 3, 4) or 0 in two.shape:
        raise ReferenceError(
            f"{where} is {two.dtype} {list(two.shape)}; features [b, d], tokens [b, t, d] or maps [b, c, h, w] "
            "are needed"
        )
    if len(two) != 2 or one.shape != (1, *two.shape[1:]):
        raise ReferenceError(f"{where} is {list(two.shape)} for two tiles; export the model with an open batch")
    if not (np.isfinite(two).all() and np.isfinite(one).all()):
        raise ReferenceError(f"{where} holds NaN or infinity for random tiles")
    apart = np.abs(two[1].astype(np.float32) - one[0].astype(np.float32)).max()
    if apart > SAME * np.abs(two.astype(np.float32)).max():
        raise ReferenceError(f"{where} of a tile depends on the tiles beside it; export the model for inference")


def features_model(
    model: onnx.ModelProto,
    given: ModelInput,
    shapes: Sequence[tuple[int, ...]],
    settings: OnnxSettings,
    name: str,
) -> tuple[bytes, tuple[int, ...]]:
    """``u8[batch, px, px, 3]`` → ``f32[batch, sum of d]`` as ONNX, and the d of every tensor in its order;
    ``model`` is used up.

    Raises ``UsageError`` for settings that leave a tensor's tokens without a patch.
    """
    onnx = onnx_package()
    constants: dict[str, np.ndarray] = {}
    before = _preprocessing(given, settings, constants)
    tensors = [value.name for value in model.graph.output]
    prefix(model.graph, "model/")
    after, blocks, dims = [], [], []
    for i, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        nodes, dim = _pooling(f"block{i}", shape, settings, constants, f"{name}: tensor {tensor}")
        after += [node_of("Cast", [f"model/{tensor}"], [f"block{i}/raw"], to=onnx.TensorProto.FLOAT), *nodes]
        blocks.append(f"block{i}")
        dims.append(dim)
    after.append(node_of("Concat", blocks, ["embedding"], axis=1))
    tiles: Given = ("tiles", onnx.TensorProto.UINT8, ["batch", given.px, given.px, 3])
    return model_of([*before, *model.graph.node, *after], constants, tiles, sum(dims), [model]), tuple(dims)


def _preprocessing(
    given: ModelInput, settings: OnnxSettings, constants: dict[str, np.ndarray]
) -> list[onnx.NodeProto]:
    """Nodes from ``tiles`` to the model's input."""
    nodes: list[onnx.NodeProto] = []
    last, kinds = "tiles", onnx_package().TensorProto

    def then(kind: str, *more: str, **attributes: Any) -> None:
        nonlocal last
        result = f"input/{len(nodes)}"
        nodes.append(node_of(kind, [last, *more], [result], **attributes))
        last = result

    if given.kind != "UINT8":
        (low, high), mean, std = settings.range, np.array(settings.mean), np.array(settings.std)
        constants["scale"] = ((high - low) / 255 / std).astype(np.float32)
        constants["shift"] = ((low - mean) / std).astype(np.float32)
        then("Cast", to=kinds.FLOAT)
        then("Mul", "scale")
        then("Add", "shift")
    if settings.channels == "bgr":
        constants["bgr"] = np.array([2, 1, 0], np.int64)
        then("Gather", "bgr", axis=3)
    if given.kind == "FLOAT16":
        then("Cast", to=kinds.FLOAT16)
    if given.nchw:
        then("Transpose", perm=[0, 3, 1, 2])
    nodes.append(node_of("Identity", [last], [f"model/{given.name}"]))
    return nodes


def _pooling(
    block: str, shape: tuple[int, ...], settings: OnnxSettings, constants: dict[str, np.ndarray], where: str
) -> tuple[list[onnx.NodeProto], int]:
    """Nodes from ``block/raw`` f32 to ``block`` f32[b, d], and d."""
    raw = f"{block}/raw"
    if len(shape) == 1:
        return [node_of("Identity", [raw], [block])], shape[0]
    if len(shape) == 3:
        return _mean(raw, block), shape[0]
    if shape[0] <= settings.prefix:
        raise UsageError(f"{where} has {shape[0]} tokens; prefix = {settings.prefix} leaves no patch")
    constants |= {
        "first": np.array(0, np.int64),
        "start": np.array([settings.prefix], np.int64),
        "end": np.array([2**62], np.int64),
        "tokens": np.array([1], np.int64),
    }
    class_token = [node_of("Gather", [raw, "first"], [f"{block}/cls"], axis=1)]
    patches = [
        node_of("Slice", [raw, "start", "end", "tokens"], [f"{block}/patches"]),
        node_of("Transpose", [f"{block}/patches"], [f"{block}/last"], perm=[0, 2, 1]),
        *_mean(f"{block}/last", f"{block}/mean"),
    ]
    taken = {
        "cls": (class_token, [f"{block}/cls"]),
        "mean": (patches, [f"{block}/mean"]),
        "cls+mean": ([*class_token, *patches], [f"{block}/cls", f"{block}/mean"]),
    }
    nodes, parts = taken[settings.tokens]
    return [*nodes, node_of("Concat", parts, [block], axis=1)], shape[1] * len(parts)


def _mean(given: str, result: str) -> list[onnx.NodeProto]:
    """The mean over all axes after the second."""
    return [
        node_of("GlobalAveragePool", [given], [f"{result}/pooled"]),
        node_of("Flatten", [f"{result}/pooled"], [result], axis=1),
    ]
