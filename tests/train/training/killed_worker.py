"""A toy training in a process of its own: ``killed_worker.py FOLDER [slowly] [resume]``.

``slowly`` so that it can be killed in the middle. A process each, since threads that other tests have set up would
change sums in their last digit.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import torch
from toy import CPU, tile_towers, toy_data, toy_tiles

from bleep_train.config.schema import (
    AugmentConfig,
    Config,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ReferenceConfig,
    ValidationConfig,
)
from bleep_train.training.loop import train
from bleep_train.training.source import TileSource
from bleep_train.training.validation import Validation

SPOTS = 40
CONFIG = Config(
    model=ModelConfig(dim=8, dropout=0.2, trainable="all"),
    loss=LossConfig(target_pcs=4),
    optim=OptimConfig(epochs=40, batch_size=16, lr=0.02, seed=2, micro_batch=5, clip_norm=1.0),
    augment=AugmentConfig(stain_jitter=0.05),
    reference=ReferenceConfig(k=5),
    validation=ValidationConfig(by="spots", every=4),
)


def work(folder: Path, **options: Any) -> None:
    """Trains on tiles, with all that is random: order, views, stains, dropout."""
    rows = torch.arange(SPOTS).numpy()
    panel = toy_data(SPOTS)[1]
    validation = Validation(rows[::5], rows[rows % 5 > 0], panel[:, :20])
    source = TileSource([toy_tiles(SPOTS)], CPU)
    options = {"device": CPU, "validation": validation, **options}
    train(tile_towers(CONFIG, norm=True), source, panel, CONFIG, folder, **options)


def slowly(_stage: str, _done: int, _total: int) -> None:
    """A progress callback that takes its time."""
    time.sleep(0.1)


if __name__ == "__main__":
    torch.set_num_threads(1)
    slow = {"progress": slowly} if "slowly" in sys.argv else {}
    work(Path(sys.argv[1]), resume="resume" in sys.argv, **slow)
