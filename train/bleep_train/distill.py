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
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.types import F32, Progress, no_progress
from bleep_train.batches import ahead, epoch_batches, learning_rate
from bleep_train.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from bleep_train.config import Config, DistillConfig
from bleep_train.loop import CHECKPOINT_EVERY, METRICS, set_training, trim_metrics
from bleep_train.loss import ContrastiveLoss
from bleep_train.model import Towers
from bleep_train.monitor import Watch
from bleep_train.source import FeatureSource, TileSource


@dataclass(frozen=True)
class Lesson:
    """What a student learns: ``teacher`` f32[n, d] unit vectors of the n tiles that its source gives, ``spots``
    f32[m, d] unit vectors of the training spots' expression."""

    teacher: F32
    spots: F32


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
    student.image.to(memory_format=torch.channels_last)
    contrastive = ContrastiveLoss(config.loss, config.model.heads)  # its place in the checkpoint of a run
    model = nn.ModuleDict({"towers": student.modules(), "loss": contrastive}).to(device)
    loss, teacher = DistillLoss(lesson.spots, config.distill).to(device), torch.from_numpy(lesson.teacher)
    learned = [p for p in student.image.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        learned, lr=config.optim.lr, weight_decay=config.optim.weight_decay, fused=device.type == "cuda"
    )
    first = 0
    if resume and (run / CHECKPOINT).exists():
        first = int(load_checkpoint(run / CHECKPOINT, model, optimiser)["epoch"]) + 1
    trim_metrics(run / METRICS, first)
    for epoch in range(first, config.optim.epochs):
        progress("epochs", epoch, config.optim.epochs)
        set_training(model, student)
        student.expression.eval()
        record = _epoch(student, source, teacher, loss, optimiser, config, epoch, device)
        with (run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        if epoch == config.optim.epochs - 1 or (epoch + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(run / CHECKPOINT, model, optimiser, {"epoch": epoch})
        for watch in watchers:
            watch(record)
    progress("epochs", config.optim.epochs, config.optim.epochs)


def _epoch(
    student: Towers,
    source: FeatureSource | TileSource,
    teacher: Tensor,
    loss: DistillLoss,
    optimiser: torch.optim.Optimizer,
    config: Config,
    epoch: int,
    device: torch.device,
) -> dict[str, Any]:
    """One pass over all tiles, each in one view drawn for it; returns its line of ``metrics.jsonl``."""
    torch.manual_seed(config.optim.seed * 100_003 + epoch)
    batches = epoch_batches(len(teacher), config, epoch)
    fetched = ahead(lambda batch: source.fetch(batch.rows), batches)
    seen: list[tuple[float, float]] = []
    for i, (batch, tiles) in enumerate(zip(batches, fetched, strict=True)):
        for parameters in optimiser.param_groups:
            step, steps = epoch * len(batches) + i, config.optim.epochs * len(batches)
            parameters["lr"] = learning_rate(config.optim, step, steps)
        inputs = source.prepare(tiles.to(device, non_blocking=True), batch.views, batch.stain)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            vectors = source.run(student.image, inputs)
        wanted = teacher[torch.from_numpy(batch.rows)].to(device, non_blocking=True)
        value, cosine = loss(F.normalize(vectors.float(), dim=1), wanted)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        if config.optim.clip_norm:
            nn.utils.clip_grad_norm_(student.image.parameters(), config.optim.clip_norm)
        optimiser.step()
        seen.append((float(value.detach()), float(cosine.detach())))
    mean = np.mean(seen, axis=0)
    lr = optimiser.param_groups[0]["lr"]
    return {"epoch": epoch, "loss": float(mean[0]), "cosine": float(mean[1]), "lr": lr}
