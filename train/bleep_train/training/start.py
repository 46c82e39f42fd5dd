"""Fresh towers and what feeds them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bleep_cli.types import I64, Progress, Section
from bleep_train.backbones.build import Normalised, build_backbone
from bleep_train.config.schema import Config
from bleep_train.data.tile_cache import cached_tiles
from bleep_train.data.training_set import TrainingSet
from bleep_train.model.towers import Towers, build_towers
from bleep_train.training.closed_form import fit_closed_form
from bleep_train.training.distributed import Group
from bleep_train.training.frozen import cached_features
from bleep_train.training.source import FeatureSource, TileSource
from bleep_train.training.validation import Validation


def towers_and_source(
    data: TrainingSet, config: Config, cache: Path, device: torch.device, group: Group, progress: Progress
) -> tuple[Towers, FeatureSource | TileSource]:
    """Fresh towers and what feeds them; the first rank fills the caches, the others wait for it."""
    torch.manual_seed(config.optim.seed)
    towers = build_towers(config.model, len(config.data.tile_um), len(data.panel_keys))
    if not group.leads:
        group.wait()
    source = image_source(towers, data.sections, config, cache, device, progress)
    if group.leads:
        group.wait()
    return towers, source


def starting_backbone(config: Config) -> Normalised:
    """The backbone that training starts from; random weights are drawn as training draws them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.optim.seed)
        return build_backbone(config.model.backbone, config.model.weights, config.model.levels)


def fitted(
    towers: Towers,
    source: FeatureSource | TileSource,
    data: TrainingSet,
    validation: Validation | None,
    config: Config,
) -> dict[str, Any]:
    """Gives both towers what the configuration takes from the spots before any epoch: mean and deviation, heads in
    closed form. What was chosen for these heads; nothing where there are none."""
    rows = validation.training if validation else None
    if config.model.standardise:
        _standardise(towers, source, data, rows)
    if not config.model.fits:
        return {}
    return fit_closed_form(towers, source, data, rows, config)


def _standardise(towers: Towers, source: FeatureSource | TileSource, data: TrainingSet, rows: I64 | None) -> None:
    """Gives both towers the mean and deviation of what they learn from."""
    source.fit(towers.image, rows)
    panel = torch.from_numpy(data.panel if rows is None else data.panel[rows])
    towers.expression.scale.fit(panel.mean(dim=0), panel.std(dim=0))


def image_source(
    towers: Towers,
    sections: Sequence[Section],
    config: Config,
    cache: Path,
    device: torch.device,
    progress: Progress,
) -> FeatureSource | TileSource:
    """Cached features where the backbone is frozen, tiles where it learns."""
    if config.model.trainable != "frozen":
        towers.image.to(device)
        return TileSource(cached_tiles(sections, config.data.tile, cache, progress), device)
    features = cached_features(sections, towers.image.backbone, config.data.tile, cache, device, progress)
    return FeatureSource(features, device)
