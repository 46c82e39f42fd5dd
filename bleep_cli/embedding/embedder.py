"""An image tower as an embedder of slides: device, precision, threads and batches are settled here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from bleep_cli.base.machine import usable_cores
from bleep_cli.bundle.open import Bundle, stored_costs
from bleep_cli.choices import Device, Precision, RunsOn
from bleep_cli.embedding.lanes import Lanes, TileBuffers, lanes_for, overlapped, plain
from bleep_cli.embedding.pinned import cuda_runtime, pinned
from bleep_cli.errors import ReferenceError
from bleep_cli.tiles.read import reading_order
from bleep_cli.tiles.shared_fields import FieldReader
from bleep_cli.towers.encoder import OnnxEncoder, see_views
from bleep_cli.towers.precision import TOWERS, Chosen, Cost, choose_precision
from bleep_cli.towers.session import choose_device, has_tensorrt
from bleep_cli.types import F32, I64, U8, Progress, Slide, TileGrid, no_progress


@dataclass(frozen=True)
class Embedder:
    """An encoder with its threads and batches settled, and what is known of its tower."""

    encoder: OnnxEncoder
    precision: Chosen
    """Of the tower that runs."""
    cost: Cost | None
    """What the precision costs; None for float32, the measure of the others, and for the float16 that
    TensorRT makes of it."""
    sha256: str
    """Hex digest of the tower's ONNX bytes."""
    lanes: Lanes
    """Threads that read and embed."""

    def stream(
        self, slide: Slide, grid: TileGrid, views: int, progress: Progress = no_progress
    ) -> Generator[tuple[I64, F32, F32], None, None]:
        """Yields ``(tiles i64[b], unit vectors f32[b, d], looks f32[b, l])`` until every tile of the grid has come
        once; l is 0 for a tower that tells no looks.

        Tiles come in reading order, not in that of the grid. Reading, embedding and whatever the caller does in
        between go on at the same time; close the iterator to stop them early.
        """
        size, order = self.encoder.batch, reading_order(grid)
        batches = (order[start : start + size] for start in range(0, len(order), size))
        stages = _Stages(self.encoder, FieldReader(slide, grid), views, self._buffers(grid))
        done = 0
        progress("tiles", done, len(grid))
        with closing(overlapped(batches, stages.read, stages.embed, self.lanes)) as stream:
            for rows, (vectors, looks) in stream:
                yield rows, vectors, looks
                done += len(rows)
                progress("tiles", done, len(grid))

    def seconds_per_tile(self, views: int, batches: int = 1) -> float:
        """Measured on noise, ``batches`` in every embedding thread after one to warm up; reading costs nothing."""
        encoder = self.encoder
        shape = (encoder.batch, encoder.tile_px, encoder.tile_px, encoder.channels)
        noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        embed = partial(see_views, encoder, views=views)
        start = 0.0
        for count in (self.lanes.embedders, batches * self.lanes.embedders):
            start = time.perf_counter()
            for _ in overlapped(range(count), lambda _: noise, embed, self.lanes):
                pass
        return (time.perf_counter() - start) / (batches * self.lanes.embedders * encoder.batch)

    def _buffers(self, grid: TileGrid) -> TileBuffers:
        px = grid.spec.px
        shape = (self.encoder.batch, px, px, 3 * len(grid.spec.um))
        if self.encoder.device == "cuda":
            return TileBuffers(shape, partial(pinned, cudart=cuda_runtime()))
        return TileBuffers(shape, plain)


@dataclass(frozen=True)
class _Stages:
    """What the threads do with a batch of tiles of one slide."""

    encoder: OnnxEncoder
    reader: FieldReader
    """Of the slide's tiles."""
    views: int
    """Flips and rotations of each tile that are averaged."""
    buffers: TileBuffers = field(repr=False)
    """u8[batch, px, px, 3 * fields] each; one per batch in flight."""

    def read(self, rows: I64) -> tuple[U8, int]:
        """The pixels in a buffer, and how many tiles of it are filled."""
        whole = self.buffers.take()
        self.reader.read(rows, whole[: len(rows)])
        return whole, len(rows)

    def embed(self, tiles: tuple[U8, int]) -> tuple[F32, F32]:
        """Their unit vectors and looks; the buffer is free again."""
        whole, count = tiles
        found = see_views(self.encoder, whole[:count], self.views)
        self.buffers.give_back(whole)
        return found


def embedder_of(tower: bytes, device: Device = "auto") -> Embedder:
    """An embedder of a float32 image tower that is not in a bundle (yet)."""
    expected = choose_device(device)
    lanes = lanes_for(expected, usable_cores())
    encoder = OnnxEncoder(tower, device, threads=lanes.threads_each)
    if encoder.device != expected:  # a GPU that does not start, where it was not asked for by name
        return embedder_of(tower, encoder.device)
    return Embedder(encoder, "fp32", None, hashlib.sha256(tower).hexdigest(), lanes)


def open_embedder(bundle: Bundle, device: Device, precision: Precision) -> Embedder:
    """An embedder of the bundle's image tower that fits the device and the asked-for precision.

    A GPU that does not start, where it was not asked for by name, is a CPU: the precision is then chosen anew.
    """
    return _open(bundle, device, precision, choose_device(device))


def _open(bundle: Bundle, device: Device, precision: Precision, expected: RunsOn) -> Embedder:
    stored = stored_costs(bundle.root)
    chosen = choose_precision(precision, expected, stored, tensorrt=expected == "cuda" and has_tensorrt())
    held = chosen == "fp32" or chosen in stored
    tower = bundle.tower(TOWERS[chosen] if held else "image")
    lanes = lanes_for(expected, usable_cores())
    encoder = OnnxEncoder(tower, device, threads=lanes.threads_each, tensorrt_fp16=not held)
    if encoder.device != expected:
        return _open(bundle, encoder.device, precision, encoder.device)
    spec, dim = bundle.info.tile, bundle.array("embeddings/image").shape[1]
    if (encoder.tile_px, encoder.channels, encoder.dim) != (spec.px, 3 * len(spec.um), dim):
        raise ReferenceError(f"{bundle.name}: its {TOWERS[chosen]} tower is not of its tiles and embeddings")
    return Embedder(encoder, chosen, stored.get(chosen), hashlib.sha256(tower).hexdigest(), lanes)


def embed_grid(
    embedder: Embedder, slide: Slide, grid: TileGrid, views: int, progress: Progress = no_progress
) -> F32:
    """Unit vectors f32[n, d] of the grid's tiles, in its order."""
    return see_grid(embedder, slide, grid, views, progress)[0]


def see_grid(
    embedder: Embedder, slide: Slide, grid: TileGrid, views: int, progress: Progress = no_progress
) -> tuple[F32, F32]:
    """Unit vectors f32[n, d] of the grid's tiles and their looks f32[n, l], in its order."""
    vectors = np.empty((len(grid), embedder.encoder.dim), np.float32)
    looks = np.empty((len(grid), embedder.encoder.looks), np.float32)
    with closing(embedder.stream(slide, grid, views, progress)) as stream:
        for rows, some, seen in stream:
            vectors[rows], looks[rows] = some, seen
    return vectors, looks
