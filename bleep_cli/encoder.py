"""The image tower on ONNX Runtime: uint8 tiles in, unit vectors out.

Scaling, normalisation, transposition and the final L2 norm are in the graph; this module owns no mean and
no std. The eight views of a tile are its flips and right-angle rotations, under which tissue means the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import DeviceError, ReferenceError, UsageError
from bleep_cli.types import F32, U8, Encoder

Device = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[Device, ...] = ("auto", "cpu", "cuda")
BATCH = {"cpu": 8, "cuda": 128}  # on a CPU larger batches cost memory and win nothing
VIEWS = (1, 8)


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DeviceError(
            'ONNX Runtime is not installed; install it with "pip install bleep-cli[cpu]" or "bleep-cli[gpu]"'
        ) from error
    return onnxruntime


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """``auto`` → cuda where this ONNX Runtime was built for it, else cpu.

    Raises ``DeviceError`` when cuda is asked for and this installation cannot do it.
    """
    has_cuda = "CUDAExecutionProvider" in _runtime().get_available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError(
            "--device cuda: this ONNX Runtime has no CUDA provider; install bleep-cli[gpu] in place of "
            "bleep-cli[cpu], or use --device cpu"
        )
    return "cuda" if has_cuda and device != "cpu" else "cpu"


def make_session(model: bytes, device: Device, what: str) -> tuple[Any, Literal["cpu", "cuda"]]:
    """An inference session of an ONNX model held in memory, and the device it really runs on.

    ONNX Runtime falls back to the CPU silently: for ``auto`` that is accepted, for ``cuda`` it is an error.
    Raises ``ReferenceError`` for bytes that are no model, ``DeviceError`` when cuda cannot be used.
    """
    ort = _runtime()
    chosen = choose_device(device)
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its complaints reach the user through our own errors
    providers = ["CPUExecutionProvider"]
    if chosen == "cuda":
        with contextlib.suppress(Exception):  # absent DLLs show below, in the providers really used
            ort.preload_dlls()
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ReferenceError(f"the {what} is not a model that ONNX Runtime can run ({reason})") from error
    if "CUDAExecutionProvider" in session.get_providers():
        return session, "cuda"
    if device == "cuda":
        raise DeviceError(
            "--device cuda: the CUDA provider did not start (driver, CUDA 13 and cuDNN 9 are needed; "
            '"bleep doctor" tells more); use --device cpu'
        )
    return session, "cpu"


class OnnxEncoder:
    """The image tower: ``u8[b, px, px, 3 * fields]`` → unit vectors ``f32[b, d]``."""

    def __init__(self, model: bytes, device: Device = "auto") -> None:
        self._session, self.device = make_session(model, device, "image tower")
        (self.tile_px, width, self.channels), self.dim = _sizes(self._session, "uint8", 4, "image tower")
        if width != self.tile_px:
            raise ReferenceError(f"the image tower takes tiles of {width} × {self.tile_px} px, not squares")
        self._batch = BATCH[self.device]

    def embed(self, tiles: U8) -> F32:
        """Embeds any number of tiles in batches; results do not depend on the batching beyond rounding."""
        if tiles.shape[1:] != (self.tile_px, self.tile_px, self.channels):
            raise ReferenceError(
                f"tiles of {tiles.shape[1:]} for a tower of {(self.tile_px, self.tile_px, self.channels)}"
            )
        out = np.empty((len(tiles), self.dim), np.float32)
        for start in range(0, len(tiles), self._batch):
            batch = np.ascontiguousarray(tiles[start : start + self._batch])
            out[start : start + len(batch)] = _run(self._session, batch, "image tower")
        return out


class OnnxExpressionEncoder:
    """The expression tower: log1p on the panel ``f32[b, p]`` → unit vectors ``f32[b, d]``."""

    def __init__(self, model: bytes) -> None:
        self._session, _ = make_session(model, "cpu", "expression tower")
        (self.panel_size,), self.dim = _sizes(self._session, "float", 2, "expression tower")

    def embed(self, expression: F32, batch: int = 1024) -> F32:
        """Embeds any number of spots."""
        if expression.shape[1] != self.panel_size:
            raise ReferenceError(f"{expression.shape[1]} genes for a tower of {self.panel_size}")
        out = np.empty((len(expression), self.dim), np.float32)
        for start in range(0, len(expression), batch):
            rows = np.ascontiguousarray(expression[start : start + batch], np.float32)
            out[start : start + len(rows)] = _run(self._session, rows, "expression tower")
        return out


def _sizes(session: Any, dtype: str, rank: int, what: str) -> tuple[list[int], int]:
    """The sizes after the batch of a tower's one input, and the length of its one output's vectors.

    Raises ``ReferenceError`` for a model with other inputs or outputs, or that leaves a size open.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != f"tensor({dtype})" or len(inputs[0].shape) != rank:
        raise ReferenceError(f"the {what} does not take one {dtype} input of {rank} axes")
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise ReferenceError(f"the {what} does not give one vector per row")
    batch, *sizes = inputs[0].shape
    dim = outputs[0].shape[1]
    if isinstance(batch, int) or not all(isinstance(size, int) for size in (*sizes, dim)):
        raise ReferenceError(f"the {what} must leave the batch open and nothing else; it takes {inputs[0].shape}")
    return sizes, dim


def _run(session: Any, rows: Any, what: str) -> Any:
    """The one output for one batch."""
    try:
        return session.run(None, {session.get_inputs()[0].name: rows})[0]
    except Exception as error:  # ONNX Runtime's errors share no base class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if "CUDAExecutionProvider" in session.get_providers():
            raise DeviceError(f"the {what} failed on the GPU ({reason}); use --device cpu") from error
        raise ReferenceError(f"the {what} cannot be run ({reason})") from error


def views_of(tiles: NDArray[np.uint8], views: int) -> Iterator[U8]:
    """The tile itself, or its four rotations and their mirror images: ``u8[b, p, p, c]`` each."""
    if views not in VIEWS:
        raise UsageError(f"--views {views}: choose one of {', '.join(map(str, VIEWS))}")
    if views == 1:
        yield tiles
        return
    for mirrored in (tiles, tiles[:, :, ::-1]):
        for quarter_turns in range(4):
            yield np.rot90(mirrored, quarter_turns, axes=(1, 2))


def embed_views(encoder: Encoder, tiles: U8, views: int) -> F32:
    """Unit vectors ``f32[b, d]``: the mean over the tile's views, normalised again."""
    total = sum(encoder.embed(view) for view in views_of(tiles, views))
    if views == 1:
        return np.asarray(total, np.float32)
    return unit(np.asarray(total, np.float32))


def unit(vectors: F32) -> F32:
    """Rows scaled to length 1; a zero row stays zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), np.float32)
