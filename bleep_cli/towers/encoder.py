"""The towers as encoders, on ONNX Runtime: uint8 tiles or log1p in, unit vectors out.

Scaling, normalisation, transposition and the final L2 norm are in the graph; this module owns no mean and
no std. The eight views of a tile are its flips and right-angle rotations, under which tissue means the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.choices import Device, RunsOn
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.towers.session import make_session, run, run_on_device
from bleep_cli.types import F32, U8, Encoder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

BATCH: dict[RunsOn, int] = {"cpu": 8, "cuda": 128}  # on a CPU larger batches cost memory and win nothing
ALL_VIEWS = 8
"""Flips and right-angle rotations of a tile."""
VIEW_CHOICES = (1, ALL_VIEWS)
TOWER_SHA256 = "tower_sha256"
"""Key of a model's metadata: the tower that it gives the embeddings of."""
UNIT_SLACK = 1e-3  # by which a vector of length 1 may be longer or shorter


class OnnxEncoder:
    """The image tower, ready to embed: ``u8[b, px, px, 3 * fields]`` → unit vectors ``f32[b, d]``.

    A tower with a second output tells as well what tiles look like, f32[b, ``looks``]; of others ``looks`` is 0.
    Several threads may embed. ``threads`` is how many one run uses itself (0: all cores); ``tensorrt_fp16`` lets
    TensorRT compute in float16 where ONNX Runtime has it.
    """

    def __init__(
        self, tower: bytes, device: Device = "auto", *, threads: int = 0, tensorrt_fp16: bool = False
    ) -> None:
        self._session, self.device = make_session(
            tower, device, "image tower", threads=threads, tensorrt_fp16=tensorrt_fp16
        )
        sizes, (self.dim, *looks) = _sizes(self._session, "uint8", 4, "image tower", most=2)
        self.tile_px, width, self.channels = sizes
        self.looks = looks[0] if looks else 0
        if width != self.tile_px:
            raise ReferenceError(f"the image tower takes tiles of {width} × {self.tile_px} px, not squares")
        self.batch = BATCH[self.device]
        self._run = run if self.device == "cpu" else run_on_device

    def embed(self, tiles: U8) -> F32:
        """Embeds any number of tiles in batches; results do not depend on the batching beyond rounding."""
        return self.see(tiles)[:, : self.dim]

    def see(self, tiles: U8) -> F32:
        """Unit vectors and looks side by side, ``f32[b, d + looks]``."""
        if tiles.shape[1:] != (self.tile_px, self.tile_px, self.channels):
            raise ReferenceError(
                f"tiles of {tiles.shape[1:]} for a tower of {(self.tile_px, self.tile_px, self.channels)}"
            )
        out = np.empty((len(tiles), self.dim + self.looks), np.float32)
        for start in range(0, len(tiles), self.batch):
            batch = np.ascontiguousarray(tiles[start : start + self.batch])
            out[start : start + len(batch)] = self._run(self._session, batch, "image tower")
        return out


def gives_as(tower: bytes) -> str:
    """Hex digest of the image tower whose embeddings this one gives: its own, or, where looks were put beside it,
    that of the tower before, as the model's metadata say. Raises ``ReferenceError`` for bytes that are no model.
    """
    session, _ = make_session(tower, "cpu", "image tower")
    said = session.get_modelmeta().custom_metadata_map.get(TOWER_SHA256, "")
    return said or hashlib.sha256(tower).hexdigest()


class OnnxExpressionEncoder:
    """The expression tower, ready to embed: log1p on the panel ``f32[b, p]`` → unit vectors ``f32[b, d]``."""

    def __init__(self, tower: bytes) -> None:
        self._session, _ = make_session(tower, "cpu", "expression tower")
        (self.panel_size,), (self.dim,) = _sizes(self._session, "float", 2, "expression tower")

    def embed(self, expression: F32, batch: int = 1024) -> F32:
        """Embeds any number of spots."""
        if expression.shape[1] != self.panel_size:
            raise ReferenceError(f"{expression.shape[1]} genes for a tower of {self.panel_size}")
        out = np.empty((len(expression), self.dim), np.float32)
        for start in range(0, len(expression), batch):
            rows = np.ascontiguousarray(expression[start : start + batch], np.float32)
            out[start : start + len(rows)] = run(self._session, rows, "expression tower")
        return out


def _sizes(
    session: InferenceSession, dtype: str, rank: int, what: str, most: int = 1
) -> tuple[list[int], list[int]]:
    """The sizes after the batch of a tower's one input, and the lengths of its outputs' vectors, ``most`` of them.

    Raises ``ReferenceError`` for a tower with other inputs or outputs, or that leaves a size open.
    """
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or inputs[0].type != f"tensor({dtype})" or len(inputs[0].shape) != rank:
        raise ReferenceError(f"the {what} does not take one {dtype} input of {rank} axes")
    if not 1 <= len(outputs) <= most or any(len(output.shape) != 2 for output in outputs):
        raise ReferenceError(f"the {what} does not give one vector per row")
    batch, *sizes = inputs[0].shape
    dims = [output.shape[1] for output in outputs]
    if isinstance(batch, int) or not all(isinstance(size, int) and size > 0 for size in (*sizes, *dims)):
        raise ReferenceError(f"the {what} must leave the batch open and nothing else; it takes {inputs[0].shape}")
    return sizes, dims


def views_of(tiles: U8, views: int) -> Iterator[U8]:
    """The tile itself, or its four rotations and their mirror images: ``u8[b, p, p, c]`` each."""
    if views not in VIEW_CHOICES:
        raise UsageError(f"{option('views')} {views}: choose one of {', '.join(map(str, VIEW_CHOICES))}")
    if views == 1:
        yield tiles
        return
    for mirrored in (tiles, tiles[:, :, ::-1]):
        for quarter_turns in range(4):
            yield np.rot90(mirrored, quarter_turns, axes=(1, 2))


def embed_views(encoder: Encoder, tiles: U8, views: int) -> F32:
    """Unit vectors ``f32[b, d]``: the mean over the tile's views, normalised again.

    Raises ``ReferenceError`` for a tower whose vectors are not of length 1.
    """
    total = sum(_of_length_1(encoder.embed(view)) for view in views_of(tiles, views))
    if views == 1:
        return np.asarray(total, np.float32)
    return unit(np.asarray(total, np.float32))


def are_unit(vectors: F32) -> bool:
    """Whether all rows are of length 1, but for ``UNIT_SLACK``; NaN is not."""
    with np.errstate(all="ignore"):
        return np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=UNIT_SLACK)


def _of_length_1(vectors: F32) -> F32:
    if not are_unit(vectors):
        raise ReferenceError("the image tower does not give unit vectors")
    return vectors


def see_views(encoder: OnnxEncoder, tiles: U8, views: int) -> tuple[F32, F32]:
    """Unit vectors as :func:`embed_views` gives them, and the looks ``f32[b, encoder.looks]`` of the tiles as they
    are: of a mean over views they would be other ones, and compare with none of another number of views."""
    own, *turned = views_of(tiles, views)
    seen = _seen(encoder, own)
    total, looks = seen[:, : encoder.dim], seen[:, encoder.dim :]
    for view in turned:
        total = total + _seen(encoder, view)[:, : encoder.dim]
    return (total if views == 1 else unit(total)), looks


def _seen(encoder: OnnxEncoder, tiles: U8) -> F32:
    found = encoder.see(tiles)
    _of_length_1(found[:, : encoder.dim])
    return found


def unit(vectors: F32) -> F32:
    """Rows scaled to length 1; a zero row stays zero."""
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(norm, 1e-12), np.float32)
