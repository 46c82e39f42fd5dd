"""BLEEP inside a fold: towers trained in this process, queried through the runtime's own search and averaging.

The exported ONNX towers differ from these by less than 1e-4 (``check_parity`` in ``export/towers.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from bleep_cli.choices import Aggregation, Key
from bleep_cli.errors import UsageError
from bleep_cli.prediction.expression.fitted import fitted_prediction
from bleep_cli.prediction.expression.impute import weigh
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import ALL_VIEWS, unit
from bleep_cli.types import F32, I64
from bleep_train.config.schema import PUBLISHED, Config, LossName
from bleep_train.config.toml import closed_form_alone
from bleep_train.methods.folds import PARTS, CohortFold, Part
from bleep_train.model.towers import Towers, build_towers
from bleep_train.training.distributed import pick_device
from bleep_train.training.loop import train
from bleep_train.training.source import FeatureSource, TileSource
from bleep_train.training.start import fitted
from bleep_train.training.validation import choose_validation

PAPER_TEMPERATURE = 1.0
EMBED_SPOTS = 32


def with_loss(config: Config, loss: LossName, seed: int) -> Config:
    """The configuration with another objective alone, and a seed; the published ones come with their temperature
    and their single head, "cca" with heads in closed form, which no other has. Raises ``UsageError`` for an
    objective that the configuration cannot have."""
    if loss == "cca":
        if config.model.trainable != "frozen":
            raise UsageError(
                'objective cca needs features that stay: leave it out, or set model.trainable = "frozen"'
            )
        return with_seed(closed_form_alone(config), seed)
    changed = replace(config.loss, name=loss)
    model = replace(config.model, closed_form=False, heads=max(1, config.model.heads))
    if loss in PUBLISHED:
        changed = replace(changed, temperature=PAPER_TEMPERATURE, learn_temperature=False)
        model = replace(model, heads=1, start="random")
    return with_seed(replace(config, loss=changed, model=model), seed)


def with_seed(config: Config, seed: int) -> Config:
    """The configuration as it is, with a seed."""
    return replace(config, optim=replace(config.optim, seed=seed))


class Retrieval:
    """Trained towers of a fold: unit vectors of every training and held-out spot, and predictions from them."""

    def __init__(self, data: CohortFold, config: Config, run: Path) -> None:
        self.data = data
        towers = _train(data, config, run)
        views = config.reference.views, config.reference.recommended_views
        self.image, self.queries = (
            np.concatenate([_embed(towers, data, config, which, i, v) for i in range(len(data.parts(which)))])
            for which, v in zip(PARTS, views, strict=True)
        )
        with torch.inference_mode():
            self.spots = unit(towers.expression(torch.from_numpy(data.training.panel)).numpy())

    def predict(self, k: int, how: Aggregation, key: Key) -> F32:
        """f32[m, g] expression of the held-out spots on ``data.symbols``."""
        found = ExactIndex(self.spots if key == "expression" else self.image).search(self.queries, k)
        return fitted_prediction(
            self.queries,
            found,
            weigh(found, how),
            how,
            images=self.image,
            expression=self.data.train_y,
            panel=self.data.training.log1p,
        )


def _train(data: CohortFold, config: Config, run: Path) -> Towers:
    training = data.training
    torch.manual_seed(config.optim.seed)
    device = pick_device()
    frozen = config.model.trainable == "frozen"
    fields = len(config.data.tile_um)
    towers = build_towers(config.model, fields, len(training.panel_keys), pretrained=not frozen)
    if frozen:
        source: FeatureSource | TileSource = FeatureSource(data.features("train"), device)
    else:
        source = TileSource(data.tiles("train"), device)
    towers.modules().to(device)
    validation = choose_validation(training, config.validation, config.data.tile_um[-1])
    fitted(towers, source, training, validation, config)
    run.mkdir(parents=True, exist_ok=True)
    progress = data.study.progress
    train(towers, source, training.panel, config, run, device=device, validation=validation, progress=progress)
    towers.modules().cpu().eval()
    return towers


def _embed(towers: Towers, data: CohortFold, config: Config, which: Part, part: int, views: int) -> F32:
    """Unit vectors f32[n, dim] of one section, averaged over ``views`` as the runtime does it."""
    shown = range(ALL_VIEWS if views == ALL_VIEWS else 1)
    with torch.inference_mode():
        if config.model.trainable == "frozen":
            features = data.features(which)[part]
            out = [towers.image.project(torch.from_numpy(np.array(features[:, v]))).numpy() for v in shown]
        else:
            source = TileSource([data.tiles(which)[part]], torch.device("cpu"))
            rows = np.arange(len(data.tiles(which)[part]), dtype=np.int64)
            batches = np.array_split(rows, -(-len(rows) // EMBED_SPOTS))
            out = [_through_tower(towers, source, batches, v) for v in shown]
    return unit(np.asarray(sum(unit(np.asarray(v, np.float32)) for v in out), np.float32))


def _through_tower(towers: Towers, source: TileSource, batches: Sequence[I64], view: int) -> F32:
    parts = [source.embed(towers.image, rows, np.full(len(rows), view)).numpy() for rows in batches]
    return np.concatenate(parts)
