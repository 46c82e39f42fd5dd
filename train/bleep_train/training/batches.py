"""What each step trains on, a function of seed and epoch alone, and a thread that fetches it ahead of time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bleep_cli.types import F32, I64
from bleep_train.config.schema import Config, OptimConfig
from bleep_train.training.augment import stain_draws
from bleep_train.training.distributed import Group

STAIN_STREAM = 1  # its random numbers are its own: switching it on changes neither order nor views
DEPTH = 2  # batches fetched ahead

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """One step's b spots."""

    rows: I64
    """i64[b] positions among the training spots"""
    views: I64
    """i64[b] the view each is shown in, 0..7"""
    stain: F32 | None = None
    """f32[b, 2, 3] what its stains are perturbed by (``augment.py``); None where they are not"""

    def share(self, group: Group) -> Batch:
        """This rank's part."""
        stain = None if self.stain is None else self.stain[group.share(np.arange(len(self.rows)))]
        return Batch(group.share(self.rows), group.share(self.views), stain)


def epoch_batches(n: int, config: Config, epoch: int, world: int = 1) -> list[Batch]:
    """A shuffled pass over n spots; the last batch may be smaller, but never a single spot, nor fewer than there
    are ranks: then the one before it takes them too."""
    seed, size, sigma = config.optim.seed, config.optim.batch_size, config.augment.stain_jitter
    rng = np.random.default_rng([seed, epoch])
    order, views = rng.permutation(n).astype(np.int64), rng.integers(0, 8, n)
    stain = stain_draws(n, sigma, np.random.default_rng([seed, epoch, STAIN_STREAM])) if sigma else None
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] < max(2, world):
        starts.pop()
    ends = [*starts[1:], n]
    return [
        Batch(order[a:b], views[a:b], None if stain is None else stain[a:b])
        for a, b in zip(starts, ends, strict=True)
    ]


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Constant, or linear warm-up and cosine to zero."""
    if config.schedule == "constant":
        return config.lr
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def ahead(make: Callable[[Item], Made], items: Iterable[Item], depth: int = DEPTH) -> Iterator[Made]:
    """``make(item)`` of each item in order, made in a thread of its own while the caller works on the one before.

    At most ``depth`` results wait. An error of ``make`` comes out where its result would have; a caller that stops
    early leaves no thread behind.
    """
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="fetch") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(make, item))
                if len(waiting) > depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
