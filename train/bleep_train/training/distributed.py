"""Where training runs: on which device, and several processes as one.

A batch is split over the ranks, and its loss is that of the whole batch. Ranks are started by ``torchrun
--nproc-per-node N -m bleep_train train ...``. Every rank embeds its share; embeddings are gathered **with
gradient**, so each rank sees every negative, and N ranks × b spots equal one rank × N·b. (The published code
gathers nothing: its 4 × 512 are four batches of 512.) DDP averages gradients, once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from bleep_cli.types import I64


@dataclass(frozen=True)
class Group:
    """This process among several; a single one needs no communication."""

    rank: int = 0
    """Its number, from 0."""
    world: int = 1
    """How many there are."""
    connected: bool = False
    """Whether they were joined into a group of torch's; one alone need not be."""

    @property
    def leads(self) -> bool:
        """Whether this rank writes files and reports."""
        return self.rank == 0

    def share(self, rows: I64) -> I64:
        """This rank's part of a batch's rows: contiguous, sizes differing by at most one."""
        return np.array_split(rows, self.world)[self.rank]

    def sizes(self, total: int) -> list[int]:
        """How many rows of a batch each rank has."""
        return [len(part) for part in np.array_split(np.arange(total), self.world)]

    def gather(self, local: Tensor, total: int) -> Tensor:
        """f32[b_rank, d] of every rank → f32[total, d] in the order of the batch, differentiable.

        In backward each rank receives the sum of all ranks' gradients for its own rows.
        """
        if not self.connected:
            return local
        sizes = self.sizes(total)
        padded = nn.functional.pad(local, (0, 0, 0, max(sizes) - len(local)))
        parts = gathered_with_gradient(padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def average_gradients(self, module: nn.Module) -> None:
        """The mean over ranks, for what DDP does not wrap: the learned temperature, whose gradient every rank has
        whole."""
        if not self.connected:
            return
        for parameter in module.parameters():
            if parameter.requires_grad:
                gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                dist.all_reduce(gradient)
                parameter.grad = gradient / self.world

    def spread_over(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module under DistributedDataParallel, alone as it is.

        DDP averages the ranks' gradients. :meth:`gather` gives each rank the sum over ranks for its own rows, so
        that average is the gradient of the whole batch.
        """
        if not self.connected:
            return module
        ids = [torch.cuda.current_device()] if device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)

    def share_statistics(self, module: nn.Module, device: torch.device) -> nn.Module:
        """Batch norm over all ranks' tiles, where it learns and where there is a kernel for it (CUDA)."""
        if not self.connected or device.type != "cuda":
            return module
        return synchronised(module)

    def leave(self) -> None:
        """Ends the communication."""
        if self.connected:
            dist.destroy_process_group()

    def wait(self) -> None:
        """Until every rank is here."""
        if self.connected:
            dist.barrier()


def synchronised(module: nn.Module) -> nn.Module:
    """The module with every batch norm that learns turned into one over all ranks, in place; frozen ones stay."""
    for name, child in module.named_children():
        learns = any(p.requires_grad for p in child.parameters(recurse=False))
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            if learns:
                setattr(module, name, nn.SyncBatchNorm.convert_sync_batchnorm(child))  # type: ignore[no-untyped-call]
        else:
            synchronised(child)
    return module


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


def pick_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def join_group(*, always: bool = False) -> Group:
    """The group torchrun started this process in, or a group of one, which communicates with nobody. With
    ``always`` a rank that torchrun started alone goes all the way that several go (``benchmarks/on_gpu.py``)."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 and not always:
        return Group()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return Group(dist.get_rank(), dist.get_world_size(), connected=True)
