"""A light student of a trained run: one pass per tile for what the teacher needs eight or more for.

The student learns the teacher's vector of a tile, its views averaged, from the same place seen in one view, in
fewer pixels, by a smaller network. No expression is needed for that, so it learns from all tissue of the training
sections, not only from their spots. Its expression tower is the teacher's: both find neighbours in the same space.

The loss is ``1 - cos(student, teacher)`` plus ``neighbours`` times the divergence of the two tiles' similarities
to the training spots, softened by ``temperature``: what counts is whose neighbours are found (Hinton et al. 2015,
"Distilling the knowledge in a neural network", on similarities in place of classes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.types import F32, Progress, no_progress
from bleep_train.config.schema import Config, DistillConfig
from bleep_train.model.loss import objective_of
from bleep_train.model.towers import Towers
from bleep_train.training.batches import Batch, ahead, epoch_batches
from bleep_train.training.checkpoint import CHECKPOINT, METRICS, load_checkpoint, save_checkpoint, trim_metrics
from bleep_train.training.gradcache import Pair, chunks_of
from bleep_train.training.loop import CHECKPOINT_EVERY, make_optimiser, set_learning_rate, set_training
from bleep_train.training.monitor import Watch
from bleep_train.training.source import FeatureSource, TileSource


@dataclass(frozen=True)
class Lesson:
    """What a student learns."""

    teacher: F32
    """f32[n, d] the teacher's unit vectors of the n tiles that the student's source gives"""
    spots: F32
    """f32[m, d] unit vectors of the reference that queries are compared with"""


class DistillLoss(nn.Module):
    """``forward(student f32[b, d], teacher f32[b, d]) -> (loss, cosine)`` of unit vectors; means over tiles."""

    spots: Tensor

    def __init__(self, spots: F32, config: DistillConfig) -> None:
        super().__init__()
        self.register_buffer("spots", torch.from_numpy(spots))
        self._temperature, self._neighbours = config.temperature, config.neighbours

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        cosine = (student * teacher).sum(dim=1).mean()
        wanted, found = (F.log_softmax(v @ self.spots.T / self._temperature, dim=1) for v in (teacher, student))
        # times the temperature: its gradient is then of the size of the similarities' own, whatever it is
        divergence = F.kl_div(found, wanted, reduction="batchmean", log_target=True) * self._temperature
        return 1 - cosine + self._neighbours * divergence, cosine


@dataclass(frozen=True)
class LessonState:
    """What an epoch works with."""

    student: Towers
    """Its image tower learns."""
    source: FeatureSource | TileSource
    """Gives the tiles."""
    images: Callable[[Tensor], Tensor]
    """The tower as one call: what the source prepared → f32[b, d]."""
    teacher: Tensor
    """f32[n, d] unit vectors to be learned"""
    loss: DistillLoss
    """Of a tile's two vectors."""
    optimiser: torch.optim.Optimizer
    """Over the image tower."""
    config: Config
    """Of the student's run."""
    device: torch.device
    """Where it learns."""


def teach(
    student: Towers,
    source: FeatureSource | TileSource,
    lesson: Lesson,
    config: Config,
    run: Path,
    *,
    device: torch.device,
    resume: bool = False,
    progress: Progress = no_progress,
    watchers: Sequence[Watch] = (),
) -> None:
    """Trains the student's image tower in place; writes checkpoints and ``metrics.jsonl`` into ``run``.

    Everything random is a function of seed and epoch, so a resumed run repeats an unbroken one. bf16 on a GPU.
    """
    student.expression.requires_grad_(False)
    student.image.head.requires_grad_(True)  # a head in closed form, too: its own features were never fitted
    student.image.to(memory_format=torch.channels_last)
    contrastive = objective_of(config)  # its place in the checkpoint of a run
    model = nn.ModuleDict({"towers": student.modules(), "loss": contrastive}).to(device)
    images: Callable[[Tensor], Tensor] = Pair(student, source, device).images
    state = LessonState(
        student=student,
        source=source,
        images=torch.compile(images) if config.optim.compile else images,
        teacher=torch.from_numpy(lesson.teacher),
        loss=DistillLoss(lesson.spots, config.distill).to(device),
        optimiser=make_optimiser(student.image, config, device),
        config=config,
        device=device,
    )
    first = 0
    if resume and (run / CHECKPOINT).exists():
        first = int(load_checkpoint(run / CHECKPOINT, model, state.optimiser)["epoch"]) + 1
    trim_metrics(run / METRICS, first)
    for epoch in range(first, config.optim.epochs):
        progress("epochs", epoch, config.optim.epochs)
        set_training(model, student)
        student.expression.eval()
        record = _epoch(state, epoch)
        with (run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if epoch == config.optim.epochs - 1 or (epoch + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(run / CHECKPOINT, model, state.optimiser, {"epoch": epoch})
        for watch in watchers:
            watch(record)
    progress("epochs", config.optim.epochs, config.optim.epochs)


def _epoch(state: LessonState, epoch: int) -> dict[str, float]:
    """One pass over all tiles, each in one view drawn for it; returns its line of ``metrics.jsonl``."""
    config, optimiser = state.config, state.optimiser
    torch.manual_seed(config.optim.seed * 100_003 + epoch)
    batches = epoch_batches(len(state.teacher), config, epoch)
    fetched = ahead(lambda batch: state.source.fetch(batch.rows), batches)
    seen: list[list[float]] = []
    for i, (batch, tiles) in enumerate(zip(batches, fetched, strict=True)):
        set_learning_rate(optimiser, config, epoch, i, len(batches))
        optimiser.zero_grad(set_to_none=True)
        seen.append(_gradients(state, batch, tiles))
        if config.optim.clip_norm:
            nn.utils.clip_grad_norm_(state.student.image.parameters(), config.optim.clip_norm)
        optimiser.step()
    loss, cosine = np.mean(seen, axis=0).tolist()
    return {"epoch": epoch, "loss": loss, "cosine": cosine, "lr": optimiser.param_groups[0]["lr"]}


def _gradients(state: LessonState, batch: Batch, fetched: Tensor) -> list[float]:
    """Adds a batch's gradients, ``micro_batch`` tiles at a time: every tile has a loss of its own, so nothing but
    batch norms that learn can tell. Returns loss and cosine."""
    tiles = fetched.to(state.device, non_blocking=True)
    wanted = state.teacher[torch.from_numpy(batch.rows)].to(state.device, non_blocking=True)
    total, size = torch.zeros(2), len(batch.rows)
    for chunk in chunks_of(size, [size], state.config.optim.micro_batch):
        stain = None if batch.stain is None else batch.stain[chunk]
        vectors = state.images(state.source.prepare(tiles[chunk], batch.views[chunk], stain))
        loss, cosine = state.loss(F.normalize(vectors, dim=1), wanted[chunk])
        share = len(vectors) / size
        (loss * share).backward()
        total += share * torch.stack([loss.detach(), cosine.detach()]).cpu()
    return [float(value) for value in total]
