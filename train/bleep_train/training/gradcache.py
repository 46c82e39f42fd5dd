"""Gradients of one batch: the towers on all of it at once, or chunk by chunk with the loss still on the whole.

A contrastive loss cannot be accumulated over small batches: fewer spots are fewer negatives, another loss.
Gradient caching (Gao et al. 2021, "Scaling deep contrastive learning batch size under memory limited setup")
embeds the whole batch in chunks without gradient, takes the loss and its gradient with respect to the embeddings
on the whole batch, and then embeds each chunk again, with gradient, to carry its part on into the weights. Memory
is that of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from bleep_train.model.towers import Towers
from bleep_train.training.source import ImageSource

ChunkInputs = Callable[[slice], tuple[Tensor, Tensor]]
"""``inputs(chunk)`` → what both towers take for that part of the batch; the same each time it is asked."""
LossOf = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""``loss_of(image f32[b, d], expression f32[b, d])`` → the loss, and all ranks' image vectors."""


class Pair(nn.Module):
    """Both towers as one module with one forward: what DDP and torch.compile wrap. bf16 autocast on a GPU."""

    def __init__(self, towers: Towers, source: ImageSource, device: torch.device) -> None:
        super().__init__()
        self.image, self.expression = towers.image, towers.expression
        self._source, self._device = source, device.type

    def autocast(self) -> AbstractContextManager[object]:
        """bfloat16 where matrix units have it; it needs no loss scaling."""
        return torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._device == "cuda")

    def images(self, inputs: Tensor) -> Tensor:
        """What the source prepared → f32[b, dim]."""
        with self.autocast():
            return self._source.run(self.image, inputs).float()

    def spots(self, expression: Tensor) -> Tensor:
        """f32[b, p] → f32[b, dim]."""
        with self.autocast():
            return torch.as_tensor(self.expression(expression)).float()

    def forward(self, inputs: Tensor, expression: Tensor) -> tuple[Tensor, Tensor]:
        return self.images(inputs), self.spots(expression)


@dataclass(frozen=True)
class RandomState:
    """The generators' states on the CPU and the device: dropout repeats from here."""

    cpu: Tensor
    """torch's."""
    cuda: Tensor | None
    """Of this process's GPU, None without one."""

    @staticmethod
    def now(device: torch.device) -> RandomState:
        """As they are."""
        return RandomState(torch.get_rng_state(), torch.cuda.get_rng_state() if device.type == "cuda" else None)

    def restore(self) -> None:
        """Sets them back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda)


def backward(
    learner: nn.Module, inputs: ChunkInputs, chunks: Sequence[slice], loss_of: LossOf, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Adds the batch's gradients to the learner's parameters; returns the detached loss and image vectors.

    ``learner`` a :class:`Pair`, compiled or under DDP. With several ``chunks`` dropout is drawn chunk by chunk,
    the same in both passes, and batch norms that learn see the statistics of a chunk, not of the batch; their
    running statistics are updated once.
    """
    if len(chunks) == 1:
        loss, images = loss_of(*learner(*inputs(chunks[0])))
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach(), images.detach()
    states, parts = [], []
    with torch.no_grad(), still_statistics(learner):
        for chunk in chunks:
            states.append(RandomState.now(device))
            parts.append(_bare(learner)(*inputs(chunk)))
    image, spots = (torch.cat(side).requires_grad_() for side in zip(*parts, strict=True))
    loss, images = loss_of(image, spots)
    loss.backward()  # type: ignore[no-untyped-call]
    for i, (chunk, state) in enumerate(zip(chunks, states, strict=True)):
        last = i == len(chunks) - 1
        state.restore()
        with nullcontext() if last else _without_sync(learner):
            again = learner(*inputs(chunk))
            torch.autograd.backward(again, [_gradient(image)[chunk], _gradient(spots)[chunk]])
    return loss.detach(), images.detach()


def chunks_of(share: int, shares: Sequence[int], micro_batch: int) -> list[slice]:
    """``share`` rows in chunks of about ``micro_batch``, 0 = one chunk. Every rank has as many chunks, and none is
    empty: a forward may be a meeting of all ranks (synchronised batch norm)."""
    count = min(-(-max(shares) // micro_batch), max(1, min(shares))) if micro_batch else 1
    parts = np.array_split(np.arange(share), count)
    ends = np.cumsum([len(part) for part in parts]).tolist()
    return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


@contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms that learn use the batch's statistics and do not remember them."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _gradient(leaf: Tensor) -> Tensor:
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def _bare(learner: nn.Module) -> nn.Module:
    """Without DDP: a pass without gradient has nothing to synchronise."""
    return learner.module if isinstance(learner, DistributedDataParallel) else learner


def _without_sync(learner: nn.Module) -> AbstractContextManager[None]:
    return learner.no_sync() if isinstance(learner, DistributedDataParallel) else nullcontext()
