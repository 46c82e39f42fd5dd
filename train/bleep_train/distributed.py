"""Several processes as one: a batch is split over the ranks, and its loss is that of the whole batch.

Started by ``torchrun --nproc-per-node N -m bleep_train train ...``. Every rank embeds its share; embeddings are
gathered **with gradient**, so each rank sees every negative, and N ranks × b spots equal one rank × N·b. (The
published code gathers nothing: its 4 × 512 are four batches of 512.) Gradients are averaged once, after backward.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist

from bleep_cli.types import I64


@dataclass(frozen=True)
class Group:
    """This process among ``world`` of them; a single process needs no communication."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this rank writes files and reports."""
        return self.rank == 0

    def share(self, rows: I64) -> I64:
        """This rank's part of a batch's rows: contiguous, sizes differing by at most one."""
        return np.array_split(rows, self.world)[self.rank]

    def gather(self, local: Tensor, total: int) -> Tensor:
        """f32[b_rank, d] of every rank → f32[total, d] in the order of the batch, differentiable.

        In backward each rank receives the sum of all ranks' gradients for its own rows.
        """
        if self.world == 1:
            return local
        sizes = [len(part) for part in np.array_split(np.arange(total), self.world)]
        padded = nn.functional.pad(local, (0, 0, 0, max(sizes) - len(local)))
        parts = gathered_with_gradient(padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def average_gradients(self, model: nn.Module) -> None:
        """The mean over ranks. Each rank's gradient counts its own rows ``world`` times, so the mean is the
        gradient of the whole batch."""
        if self.world == 1:
            return
        for parameter in model.parameters():
            if parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(gradient)
                parameter.grad = gradient / self.world

    def leave(self) -> None:
        """Ends the communication."""
        if self.world > 1:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Until every rank is here."""
        if self.world > 1:
            dist.barrier()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, local: Tensor) -> tuple[Tensor, ...]:
        parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, local.contiguous())
        return tuple(parts)

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        stacked = torch.stack(gradients)
        dist.all_reduce(stacked)
        return stacked[dist.get_rank()]


def gathered_with_gradient(local: Tensor) -> tuple[Tensor, ...]:
    """All ranks' tensors of one shape; the gradient of each goes back to the rank it came from, summed."""
    return _Gather.apply(local)  # type: ignore[no-any-return]


def join_group() -> Group:
    """The group torchrun started this process in, or a group of one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return Group()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return Group(dist.get_rank(), dist.get_world_size())
