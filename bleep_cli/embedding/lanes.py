"""Tiles through three overlapping stages: some threads read, others embed, the caller takes the vectors in order.

What is in flight is bounded, so memory does not grow with the slide. On a CPU every embedding thread runs a whole
batch by itself: threads that share one batch wait for each other at every layer, and wait longest when reading, or
another program, holds one of their cores. Nothing here decides what comes out, only when.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bleep_cli.choices import RunsOn
from bleep_cli.types import U8

Batch = TypeVar("Batch")
Tiles = TypeVar("Tiles")
Found = TypeVar("Found")
Allocate = Callable[[tuple[int, ...]], U8]

MAX_EMBEDDERS = 4  # each holds the activations of one batch; more cores go to threads inside a batch
MAX_READERS = 16
CUDA_EMBEDDERS = 2  # one copies its tiles to the GPU while the other's are computed


@dataclass(frozen=True)
class Lanes:
    """How many threads each stage gets."""

    readers: int
    """Threads that read tiles."""
    embedders: int
    """Threads that run the tower, each on a whole batch."""
    threads_each: int
    """Threads that one run of the tower uses itself; 0: as it likes."""

    @property
    def ahead(self) -> int:
        """Batches in flight: one at work in every thread, and one ready for every thread that embeds."""
        return self.readers + 2 * self.embedders


def lanes_for(device: RunsOn, cores: int) -> Lanes:
    """How the work is spread over ``cores``.

    Readers are more than they need be: they share the cores with the tower and wait once enough is ready.
    """
    readers = min(max(2, cores // 2), MAX_READERS)
    if device == "cuda":
        return Lanes(min(max(2, cores), MAX_READERS), CUDA_EMBEDDERS, 0)
    embedders = min(cores, MAX_EMBEDDERS)
    return Lanes(readers, embedders, cores // embedders)


def plain(shape: tuple[int, ...]) -> U8:
    """An ordinary array, uninitialised."""
    return np.empty(shape, np.uint8)


class TileBuffers:
    """Arrays for batches of tiles that are used again, so that no batch has to be allocated (or pinned) anew."""

    def __init__(self, shape: tuple[int, ...], allocate: Allocate) -> None:
        self._shape, self._allocate = shape, allocate
        self._free: queue.SimpleQueue[U8] = queue.SimpleQueue()

    def take(self) -> U8:
        """An array of the shape; its values are of no meaning."""
        try:
            return self._free.get_nowait()
        except queue.Empty:
            return self._allocate(self._shape)

    def give_back(self, array: U8) -> None:
        """The array may be taken again."""
        self._free.put(array)


def overlapped(
    batches: Iterable[Batch], read: Callable[[Batch], Tiles], embed: Callable[[Tiles], Found], lanes: Lanes
) -> Generator[tuple[Batch, Found], None, None]:
    """Yields ``(batch, embed(read(batch)))`` in the order of the batches.

    An error of either stage is raised here as it is. Whatever ends the iteration, an error, an interrupt or
    ``close()``: batches not yet begun are dropped and the threads have ended when it returns.
    """
    readers = ThreadPoolExecutor(lanes.readers, "bleep-read")
    embedders = ThreadPoolExecutor(lanes.embedders, "bleep-embed")
    flying: deque[tuple[Batch, Future[Found]]] = deque()

    def embed_when_read(tiles: Future[Tiles]) -> Found:
        return embed(tiles.result())

    try:
        for batch in batches:
            flying.append((batch, embedders.submit(embed_when_read, readers.submit(read, batch))))
            if len(flying) > lanes.ahead:
                done, vectors = flying.popleft()
                yield done, vectors.result()
        while flying:
            done, vectors = flying.popleft()
            yield done, vectors.result()
    finally:
        embedders.shutdown(wait=False, cancel_futures=True)
        readers.shutdown(wait=True, cancel_futures=True)
        embedders.shutdown(wait=True)
