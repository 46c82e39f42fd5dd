"""One rank of the toy trainings that ``test_distributed.py`` compares: alone in its process, or under torchrun."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.parallel import DistributedDataParallel
from toy import CPU, head_towers, tile_towers, toy_data, toy_tiles

from bleep_train.config.schema import (
    AugmentConfig,
    Config,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ReferenceConfig,
    ValidationConfig,
)
from bleep_train.data.training_set import TrainingSet
from bleep_train.training.batches import Batch
from bleep_train.training.distributed import Group, join_group
from bleep_train.training.loop import assemble, batch_gradients, train
from bleep_train.training.source import FeatureSource, TileSource
from bleep_train.training.start import fitted
from bleep_train.training.validation import Validation

SPOTS = 41
LOSSES = ("paper", "mixed", "unit")
MICRO = (0, 2)
# the last batch of an epoch is odd (41 = 2 × 16 + 9): the ranks' shares differ in size
CONFIG = Config(
    model=ModelConfig(dim=8, dropout=0.0, trainable="all"),
    loss=LossConfig(target_pcs=4),
    optim=OptimConfig(epochs=2, batch_size=16, lr=3e-3, seed=4),
    augment=AugmentConfig(stain_jitter=0.1),
    reference=ReferenceConfig(k=5),
)


def gradients(group: Group) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """By loss, source and micro-batch: the gradients of one odd batch, and its loss."""
    features, panel = toy_data(SPOTS)
    for loss in LOSSES:
        for kind, micro in (("features", 0), ("features", 2), ("tiles", 0), ("tiles", 2)):
            chosen = replace(CONFIG.loss, name=loss, temperature=1.0 if loss == "paper" else 0.5)
            config = replace(CONFIG, loss=chosen, optim=replace(CONFIG.optim, micro_batch=micro))
            tiles = kind == "tiles"
            towers = tile_towers(config) if tiles else head_towers(config)
            source: Any = TileSource([toy_tiles(SPOTS)], CPU) if tiles else FeatureSource([features], CPU)
            parts = assemble(towers, source, panel, config, None, CPU, group)
            assert isinstance(parts.learner, DistributedDataParallel) == (group.world > 1)
            parts.model.train()
            batch = Batch(np.arange(7), np.arange(7))
            value, _ = batch_gradients(parts, batch, source.fetch(batch.share(group).rows))
            group.average_gradients(parts.model["loss"])
            found = {n: p.grad for n, p in parts.model.named_parameters() if p.grad is not None}
            yield f"{loss}-{kind}-{micro}", {**found, "the loss": value[None]}


def trainings(group: Group, folder: Path) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """By loss and micro-batch: the weights after two epochs on tiles, with stain jitter and validation."""
    _, panel = toy_data(SPOTS)
    rows = np.arange(SPOTS)
    validation = Validation(rows[rows % 5 == 0], rows[rows % 5 > 0], panel[:, :10])
    for loss in LOSSES[:2]:
        for micro in MICRO:
            name = f"{loss}-{micro}"
            config = replace(
                CONFIG,
                loss=replace(CONFIG.loss, name=loss, temperature=1.0 if loss == "paper" else 0.5),
                optim=replace(CONFIG.optim, micro_batch=micro, clip_norm=1.0),
                validation=ValidationConfig(by="spots", every=1),
            )
            (folder / name).mkdir(parents=True, exist_ok=True)
            towers, source = tile_towers(config), TileSource([toy_tiles(SPOTS)], CPU)
            options: Any = {"device": CPU, "group": group, "validation": validation}
            train(towers, source, panel, config, folder / name, **options)
            yield name, dict(towers.modules().state_dict())


def closed_forms(group: Group, folder: Path) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Heads in closed form beside one that learns, begun there, and alone: the weights after two epochs."""
    features, panel = toy_data(SPOTS)
    model = replace(CONFIG.model, trainable="frozen", components=4, penalty=1.0)
    models = {
        "beside": replace(model, closed_form=True),
        "begun": replace(model, start="cca"),
        "alone": replace(model, closed_form=True, heads=0),
    }
    for name, chosen in models.items():
        config = replace(CONFIG, model=chosen)
        (folder / name).mkdir(parents=True, exist_ok=True)
        towers, source = head_towers(config), FeatureSource([features], CPU)
        genes = np.arange(panel.shape[1]).astype(str)
        fitted(towers, source, TrainingSet((), genes, panel, panel, np.zeros(SPOTS, np.int64), ()), None, config)
        train(towers, source, panel, config, folder / name, device=CPU, group=group)
        yield name, dict(towers.modules().state_dict())


def work(group: Group, out: Path) -> None:
    """Writes everything the tests compare into ``out``, by the first rank."""
    if group.leads:
        out.mkdir(parents=True, exist_ok=True)
    group.wait()
    for name, tensors in (*gradients(group), *trainings(group, out), *closed_forms(group, out)):
        if group.leads:
            save_file({key: value.contiguous() for key, value in tensors.items()}, out / f"{name}.safetensors")


if __name__ == "__main__":
    torch.set_num_threads(1)
    joined = join_group()
    work(joined, Path(sys.argv[1]))
    joined.wait()
    joined.leave()
