"""The training loop, readable in one sitting.

Everything random is a function of the seed and the epoch, so a resumed run repeats an unbroken one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.errors import BleepError
from bleep_cli.types import F32, I64, Progress, no_progress
from bleep_train.checkpoint import load_checkpoint, save_checkpoint
from bleep_train.config import Config, OptimConfig
from bleep_train.distributed import Group
from bleep_train.loss import ContrastiveLoss
from bleep_train.model import Towers
from bleep_train.source import ImageSource

CHECKPOINT = "checkpoint.safetensors"
METRICS = "metrics.jsonl"
CHECKPOINT_EVERY = 10  # epochs
MAX_COSINE = 0.98
MIN_RANK = 2.0
ALONE = Group()


class CollapseError(BleepError):
    """Training collapsed and ``--strict`` was given."""


@dataclass(frozen=True)
class Batch:
    """One step's spots: rows of the training set, and the view each is shown in."""

    rows: I64
    views: I64


def pick_device() -> torch.device:
    """The GPU if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train(
    towers: Towers,
    source: ImageSource,
    panel: F32,
    config: Config,
    run: Path,
    *,
    device: torch.device,
    group: Group = ALONE,
    resume: bool = False,
    strict: bool = False,
    progress: Progress = no_progress,
) -> list[str]:
    """Trains the towers in place; writes checkpoints and ``metrics.jsonl`` (a line per epoch) into ``run``.

    ``panel`` f32[n, p] expression of the same n spots that ``source`` embeds; ``group`` the processes that
    share each batch. Returns warnings of collapse; with ``strict`` the first one is a ``CollapseError``.
    """
    expression = torch.from_numpy(panel).to(device)
    pre = principal_components(expression, config.loss.target_pcs)
    objective = ContrastiveLoss(config.loss).to(device)
    model = nn.ModuleDict({"towers": towers.modules(), "loss": objective}).to(device)
    optimiser = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.optim.lr,
        weight_decay=config.optim.weight_decay,
        fused=device.type == "cuda",
    )
    first = 0
    if resume and (run / CHECKPOINT).exists():
        first = int(load_checkpoint(run / CHECKPOINT, model, optimiser)["epoch"]) + 1
    if group.leads:
        _trim_metrics(run / METRICS, first)
    warned: list[str] = []
    for epoch in range(first, config.optim.epochs):
        progress("epochs", epoch, config.optim.epochs)
        record = _epoch(epoch, model, towers, source, expression, pre, optimiser, config, device, group)
        warned += collapse_signs(record, config.optim) if not warned else []
        if warned and strict:
            raise CollapseError(f"{warned[0]} (--strict)")
        if not group.leads:
            continue
        with (run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        last = epoch == config.optim.epochs - 1
        if last or (epoch + 1) % CHECKPOINT_EVERY == 0:
            save_checkpoint(run / CHECKPOINT, model, optimiser, {"epoch": epoch})
    group.wait()
    progress("epochs", config.optim.epochs, config.optim.epochs)
    return warned


def _epoch(
    epoch: int,
    model: nn.ModuleDict,
    towers: Towers,
    source: ImageSource,
    expression: Tensor,
    pre: Tensor,
    optimiser: torch.optim.Optimizer,
    config: Config,
    device: torch.device,
    group: Group,
) -> dict[str, Any]:
    torch.manual_seed((config.optim.seed * 100_003 + epoch) * group.world + group.rank)
    set_training(model, towers)
    objective: Any = model["loss"]
    losses, image = [], torch.empty(0)
    batches = epoch_batches(len(expression), config.optim, epoch)
    for i, batch in enumerate(batches):
        for parameters in optimiser.param_groups:
            parameters["lr"] = learning_rate(
                config.optim, epoch * len(batches) + i, config.optim.epochs * len(batches)
            )
        rows = torch.from_numpy(batch.rows).to(device)
        own_rows, own_views = group.share(batch.rows), group.share(batch.views)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            image = source.embed(towers.image, own_rows, own_views)
            spots = towers.expression(expression[torch.from_numpy(own_rows).to(device)])
        image, spots = (group.gather(part.float(), len(rows)) for part in (image, spots))
        loss = objective(image, spots, pre[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        group.average_gradients(model)
        if config.optim.clip_norm:
            nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip_norm)
        optimiser.step()
        losses.append(float(loss.detach()))
    return {
        "epoch": epoch,
        "loss": float(np.mean(losses)),
        "ln_batch": math.log(min(config.optim.batch_size, len(expression))),
        "temperature": float(1 / objective.scale.detach()),
        "lr": optimiser.param_groups[0]["lr"],
        **spread(image.detach()),
    }


def collapse_signs(record: dict[str, Any], config: OptimConfig) -> list[str]:
    """What an epoch's metrics say of collapse, after a tenth of the epochs; empty for a healthy run.

    A collapsed tower maps every tile to one point: mean cosine near 1, effective rank near 1, and a loss that
    stays at ln(batch), the loss of not knowing.
    """
    if record["epoch"] < max(1, config.epochs // 10):
        return []
    signs = []
    if record["mean_cosine"] > MAX_COSINE:
        signs.append(f"image vectors have a mean cosine of {record['mean_cosine']:.3f}")
    if record["effective_rank"] < MIN_RANK:
        signs.append(f"their effective rank is {record['effective_rank']:.1f}")
    if not record["loss"] < 2 * record["ln_batch"]:
        signs.append(f"the loss is {record['loss']:.2f} at ln(batch) = {record['ln_batch']:.2f}")
    if not signs:
        return []
    return [f"epoch {record['epoch']}: the embedding is collapsing: {'; '.join(signs)}. Try a smaller optim.lr"]


def epoch_batches(n: int, config: OptimConfig, epoch: int) -> list[Batch]:
    """A shuffled pass over n spots; the last batch may be smaller, but never a single spot."""
    rng = np.random.default_rng([config.seed, epoch])
    order, views = rng.permutation(n).astype(np.int64), rng.integers(0, 8, n)
    starts = list(range(0, n, config.batch_size))
    if len(starts) > 1 and n - starts[-1] < 2:
        starts.pop()
    ends = [*starts[1:], n]
    return [Batch(order[a:b], views[a:b]) for a, b in zip(starts, ends, strict=True)]


def learning_rate(config: OptimConfig, step: int, steps: int) -> float:
    """Constant, or linear warm-up and cosine to zero."""
    if config.schedule == "constant":
        return config.lr
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def set_training(model: nn.Module, towers: Towers) -> None:
    """Training mode, except for the normalisation layers of what is frozen."""
    model.train()
    for module in towers.image.backbone.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()


def principal_components(expression: Tensor, count: int) -> Tensor:
    """Unit rows f32[n, c] of the first principal components: expression before any projection."""
    centred = expression - expression.mean(dim=0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    return F.normalize((u * s)[:, :count], dim=1)


def spread(vectors: Tensor) -> dict[str, float]:
    """Effective rank (exp of the entropy of the spectrum) and mean cosine: both tell of collapse."""
    unit = F.normalize(vectors, dim=1)
    values = torch.linalg.svdvals(unit - unit.mean(dim=0))
    share = values / values.sum().clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    n = len(unit)
    cosine = (unit.sum(dim=0).square().sum() - n) / max(1, n * (n - 1))
    return {"effective_rank": float(entropy.exp()), "mean_cosine": float(cosine)}


def _trim_metrics(path: Path, epochs: int) -> None:
    """Drops lines of epochs that a resumed run will do again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    path.write_text("".join(lines[:epochs]), encoding="utf-8")
