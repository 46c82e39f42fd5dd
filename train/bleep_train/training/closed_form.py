"""Heads in closed form beside those that learn, or alone: the runtime's own fit, on the features of a frozen
backbone (``bleep_cli/fitting``).

A closed form has no epoch, no seed and no batch, and the more its penalty the less it keeps of its own donors.
Beside heads that learn it steadies them for donors that neither has seen (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bleep_cli.errors import UsageError
from bleep_cli.fitting.cca import LinearHead, decompose, fit_heads
from bleep_cli.fitting.choose import Choice, choose, held_out_groups
from bleep_cli.reliability.groups import By
from bleep_cli.towers.levels import block_scale
from bleep_cli.types import F32, I64
from bleep_train.config.schema import Config
from bleep_train.data.training_set import TrainingSet
from bleep_train.model.towers import ClosedFormHead, Towers
from bleep_train.training.source import FeatureSource, ImageSource


def fit_closed_form(
    towers: Towers, source: ImageSource, data: TrainingSet, rows: I64 | None, config: Config
) -> dict[str, Any]:
    """Fits the towers' closed-form heads to the training spots ``rows`` i64[t], all for None; what was chosen.

    Raises ``UsageError`` where the backbone learns: its features would leave the heads behind.
    """
    if not isinstance(source, FeatureSource):
        raise UsageError('a head in closed form needs features that stay: set model.trainable = "frozen"')
    chosen = np.arange(len(data.panel), dtype=np.int64) if rows is None else rows
    features = source.mean_features(towers.image, chosen)
    backbone = towers.image.backbone
    smallest = features[:, : backbone.dim]
    of_field = block_scale(backbone.block_dims, smallest, shipped=backbone.shipped)
    scale = np.tile(of_field, len(config.data.tile_um))
    scaled, panel = features * scale, data.panel[chosen]
    choice = _choice(scaled, panel, data, chosen, config)
    image, spot = fit_heads(decompose(scaled), decompose(panel, config.model.components), choice["penalty"])
    unscaled = LinearHead(np.asarray(image.mean / scale, np.float32), image.weights * scale[:, None])
    for tower, head in ((towers.image, unscaled), (towers.expression, spot)):
        for linear in (m for m in tower.head.modules() if isinstance(m, ClosedFormHead)):
            linear.fit(torch.from_numpy(head.mean), torch.from_numpy(head.weights))
    return choice


def _choice(features: F32, panel: F32, data: TrainingSet, rows: I64, config: Config) -> dict[str, Any]:
    """The penalty, and how it came to be."""
    if config.model.penalty:
        return {"penalty": config.model.penalty, "components": config.model.components}
    by, group = _groups(data, rows)
    sizes: Sequence[int] = (config.model.components,)
    choice: Choice = choose([features], panel, by, group, config.reference.k, components=sizes)
    return choice.attrs()


def _groups(data: TrainingSet, rows: I64) -> tuple[By, I64]:
    """What is held out at a time among the spots that are learned from, and its group of each: donors, sections or
    blocks, of the sections that any of them is of."""
    there = np.unique(data.section_of[rows])
    by, group = held_out_groups([data.sections[i] for i in there])
    spots = np.flatnonzero(np.isin(data.section_of, there))
    return by, group[np.searchsorted(spots, rows)]
