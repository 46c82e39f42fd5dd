"""The training loop, readable in one sitting.

Everything random is a function of the seed and the epoch, so a resumed run repeats an unbroken one. The same code
runs on a CPU in float32, on a GPU (bf16, channels last, fused AdamW), and on several under torchrun.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bleep_cli.errors import UsageError, option
from bleep_cli.types import F32, I64, Progress, no_progress
from bleep_train.config.schema import Config
from bleep_train.model.loss import ContrastiveLoss, objective_of
from bleep_train.model.towers import Towers
from bleep_train.training.batches import Batch, ahead, epoch_batches, learning_rate
from bleep_train.training.checkpoint import (
    BEST,
    CHECKPOINT,
    METRICS,
    load_checkpoint,
    save_checkpoint,
    trim_metrics,
)
from bleep_train.training.distributed import Group
from bleep_train.training.gradcache import Pair, backward, chunks_of
from bleep_train.training.monitor import CollapseError, Watch, collapse_signs, spread
from bleep_train.training.source import ImageSource
from bleep_train.training.validation import Validation, retrieval_r

CHECKPOINT_EVERY = 10  # epochs
ALONE = Group()


@dataclass(frozen=True)
class TrainingState:
    """What an epoch works with: n spots, of which t are learned from."""

    config: Config
    """Of the run."""
    towers: Towers
    """Both towers."""
    source: ImageSource
    """Gives the image tower its input."""
    model: nn.ModuleDict
    """What is saved: towers and loss."""
    pair: Pair
    """Both towers as one module."""
    learner: nn.Module
    """The same, compiled and under DDP where asked for."""
    optimiser: torch.optim.Optimizer
    """Over what learns."""
    expression: Tensor
    """f32[n, p] input of the expression tower, of all spots"""
    rows: I64
    """i64[t] those that are learned from"""
    targets: Tensor
    """f32[t, c] their principal components"""
    device: torch.device
    """Where they are."""
    group: Group
    """The processes that share each batch."""

    @property
    def objective(self) -> ContrastiveLoss:
        """The loss in ``model``."""
        loss = self.model["loss"]
        assert isinstance(loss, ContrastiveLoss)
        return loss


def train(
    towers: Towers,
    source: ImageSource,
    panel: F32,
    config: Config,
    run: Path,
    *,
    device: torch.device,
    group: Group = ALONE,
    validation: Validation | None = None,
    resume: bool = False,
    strict: bool = False,
    progress: Progress = no_progress,
    watchers: Sequence[Watch] = (),
) -> list[str]:
    """Trains the towers in place; writes checkpoints and ``metrics.jsonl`` (a line per epoch) into ``run``.

    ``panel`` f32[n, p] expression of the same n spots that ``source`` embeds; ``group`` the processes that
    share each batch; ``validation`` spots that give no gradient and choose the epoch whose weights the towers end
    with (``best.safetensors``); without, it is the last. ``watchers`` are told of every epoch. Returns warnings of
    collapse; with ``strict`` the first one is a ``CollapseError``.
    """
    if validation is None and config.validation.by != "none":
        raise UsageError(f"validation.by = {config.validation.by}: no spots are held back here; set it to none")
    if not config.model.heads:  # closed forms alone: there is nothing to learn
        return _as_fitted(towers, config, run, device, group)
    state = assemble(towers, source, panel, config, validation, device, group)
    first, best = _take_up(state, run, resume)
    warned: list[str] = []
    for epoch in range(first, config.optim.epochs):
        progress("epochs", epoch, config.optim.epochs)
        record, last = train_epoch(state, epoch), epoch == config.optim.epochs - 1
        better = False
        if validation and (last or (epoch + 1) % config.validation.every == 0):
            state.model.eval()
            r = retrieval_r(state.pair, source, validation, state.expression, config, group)
            better = best is None or r > best["validation_r"]
            best = {"epoch": epoch, "validation_r": r} if better else best
            record["validation_r"] = r
        warned += collapse_signs(record, config) if not warned else []
        if warned and strict:
            raise CollapseError(f"{warned[0]} ({option('strict')})")
        if group.leads:
            with (run / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            if last or better or (epoch + 1) % CHECKPOINT_EVERY == 0:
                _save(state, run, epoch, best)
            for watch in watchers:
                watch(record)
    group.wait()
    if best:
        load_checkpoint(run / BEST, state.model)
    progress("epochs", config.optim.epochs, config.optim.epochs)
    return warned


def _as_fitted(towers: Towers, config: Config, run: Path, device: torch.device, group: Group) -> list[str]:
    """Saves what was fitted before any epoch, as the run's only state. No optimiser and no DDP: these want
    something that learns."""
    model = _model(towers, config, device)
    if group.leads:
        trim_metrics(run / METRICS, 0)
        (run / BEST).unlink(missing_ok=True)
        save_checkpoint(run / CHECKPOINT, model, None, {"epoch": 0})
    group.wait()
    return []


def _model(towers: Towers, config: Config, device: torch.device) -> nn.ModuleDict:
    """What is saved: towers and loss."""
    return nn.ModuleDict({"towers": towers.modules(), "loss": objective_of(config)}).to(device)


def assemble(
    towers: Towers,
    source: ImageSource,
    panel: F32,
    config: Config,
    validation: Validation | None,
    device: torch.device,
    group: Group,
) -> TrainingState:
    """What the epochs of :func:`train` work with; takes what it does."""
    group.share_statistics(towers.image, device)
    towers.image.to(memory_format=torch.channels_last)
    model = _model(towers, config, device)
    pair = Pair(towers, source, device)
    learner = compiled(pair) if config.optim.compile else pair
    expression = torch.from_numpy(panel).to(device)
    rows = validation.training if validation else np.arange(len(panel), dtype=np.int64)
    return TrainingState(
        config=config,
        towers=towers,
        source=source,
        model=model,
        pair=pair,
        learner=group.spread_over(learner, device),
        optimiser=make_optimiser(model, config, device),
        expression=expression,
        rows=rows,
        targets=principal_components(expression[torch.from_numpy(rows).to(device)], config.loss.target_pcs),
        device=device,
        group=group,
    )


def _take_up(state: TrainingState, run: Path, resume: bool) -> tuple[int, dict[str, float] | None]:
    """The epoch to begin with and the best one so far; an earlier run's traces are brought back to there."""
    first, best = 0, None
    if resume and (run / CHECKPOINT).exists():
        meta = load_checkpoint(run / CHECKPOINT, state.model, state.optimiser)
        first, best = int(meta["epoch"]) + 1, meta.get("best")
    if state.group.leads:
        trim_metrics(run / METRICS, first)
        if best is None:
            (run / BEST).unlink(missing_ok=True)
        elif best["epoch"] == first - 1:  # it may have been killed between the two files
            save_checkpoint(run / BEST, state.model, None, best)
    return first, best


def _save(state: TrainingState, run: Path, epoch: int, best: dict[str, float] | None) -> None:
    """The checkpoint, and the best weights if they are these. In this order: a best file is never of a future that
    the checkpoint does not know."""
    meta = {"epoch": epoch, "best": best} if best else {"epoch": epoch}
    save_checkpoint(run / CHECKPOINT, state.model, state.optimiser, meta)
    if best and best["epoch"] == epoch:
        save_checkpoint(run / BEST, state.model, None, best)


def train_epoch(state: TrainingState, epoch: int) -> dict[str, float]:
    """One pass over the training spots; returns its line of ``metrics.jsonl``."""
    config, group = state.config, state.group
    objective = state.objective
    torch.manual_seed((config.optim.seed * 100_003 + epoch) * group.world + group.rank)
    set_training(state.model, state.towers)
    batches = epoch_batches(len(state.rows), config, epoch, group.world)
    fetched = ahead(lambda batch: state.source.fetch(state.rows[batch.share(group).rows]), batches)
    losses, images = [], torch.empty(0)
    for i, (batch, tiles) in enumerate(zip(batches, fetched, strict=True)):
        set_learning_rate(state.optimiser, config, epoch, i, len(batches))
        state.optimiser.zero_grad(set_to_none=True)
        loss, images = batch_gradients(state, batch, tiles)
        group.average_gradients(objective)
        if config.optim.clip_norm:
            nn.utils.clip_grad_norm_(state.model.parameters(), config.optim.clip_norm)
        state.optimiser.step()
        losses.append(loss)
    return {
        "epoch": epoch,
        "loss": float(np.mean(torch.stack(losses).tolist())),
        "ln_batch": float(np.mean([math.log(len(batch.rows)) for batch in batches])),
        "temperature": float(1 / objective.scale.detach()),
        "lr": state.optimiser.param_groups[0]["lr"],
        **spread(images),
    }


def batch_gradients(state: TrainingState, batch: Batch, fetched: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and gradients of a batch, of which this rank has fetched its share; returns loss and image vectors."""
    group, device, total = state.group, state.device, len(batch.rows)
    mine, objective = batch.share(group), state.objective
    tiles = fetched.to(device, non_blocking=True)
    expression = state.expression[torch.from_numpy(state.rows[mine.rows]).to(device)]
    targets = state.targets[torch.from_numpy(batch.rows).to(device)]

    def inputs(chunk: slice) -> tuple[Tensor, Tensor]:
        stain = None if mine.stain is None else mine.stain[chunk]
        return state.source.prepare(tiles[chunk], mine.views[chunk], stain), expression[chunk]

    def loss_of(image: Tensor, spots: Tensor) -> tuple[Tensor, Tensor]:
        image, spots = group.gather(image, total), group.gather(spots, total)
        return objective(image, spots, targets), image

    chunks = chunks_of(len(mine.rows), group.sizes(total), state.config.optim.micro_batch)
    return backward(state.learner, inputs, chunks, loss_of, device)


def compiled(module: nn.Module) -> nn.Module:
    """The module through torch.compile."""
    made: object = torch.compile(module)
    assert isinstance(made, nn.Module)
    return made


def make_optimiser(model: nn.Module, config: Config, device: torch.device) -> torch.optim.AdamW:
    """AdamW over what learns, fused on a GPU."""
    return torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=config.optim.lr,
        weight_decay=config.optim.weight_decay,
        fused=device.type == "cuda",
    )


def set_learning_rate(
    optimiser: torch.optim.Optimizer, config: Config, epoch: int, batch: int, batches: int
) -> None:
    """The schedule's rate at a batch of an epoch of ``batches``."""
    rate = learning_rate(config.optim, epoch * batches + batch, config.optim.epochs * batches)
    for parameters in optimiser.param_groups:
        parameters["lr"] = rate


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
