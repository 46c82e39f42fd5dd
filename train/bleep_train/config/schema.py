"""The configuration of a run: frozen dataclasses, read from TOML; an unknown key is an error."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from bleep_cli.choices import Key
from bleep_cli.types import TileSpec
from bleep_train.config.protocols import DataProtocol

LossName = Literal["paper", "clip", "unit", "pre", "mixed"]
LOSSES: tuple[LossName, ...] = get_args(LossName)


@dataclass(frozen=True)
class DataConfig:
    """From sections to what the towers see.

    ``target_sum`` counts per spot after normalisation; ``panel`` how the expression tower's genes are chosen:
    "hvg" = ``panel_genes`` highly variable genes per section (scanpy), the union of them, as the paper does;
    "variance" = the ``panel_genes`` genes of largest log1p variance over the training spots.
    ``min_spots`` the least fraction of spots a panel gene is detected in; ``harmony`` batch-corrects the panel
    across sections before training; ``tile_um`` fields of view around each spot, ``tile_px`` their edge.
    ``protocol`` "leak-free": held-out sections are not read; "paper": they enter the panel and Harmony, as in
    the published code, and results on them are flattered.
    """

    protocol: DataProtocol = "leak-free"
    target_sum: float = 10_000.0
    panel: Literal["hvg", "variance"] = "variance"
    panel_genes: int = 1000
    min_spots: float = 0.10
    harmony: bool = False
    tile_um: tuple[float, ...] = (155.0,)
    tile_px: int = 224

    @property
    def tile(self) -> TileSpec:
        """The tile in the runtime's terms."""
        return TileSpec(self.tile_px, self.tile_um)


@dataclass(frozen=True)
class ModelConfig:
    """The towers. ``weights``: "imagenet", "random" or a path; ``trainable``: how much of the backbone learns
    (paper: all). ``standardise`` scales both towers' inputs to the training mean and deviation, in the graph.
    ``heads`` projection heads per tower, each with a loss of its own; ``levels`` of the backbone whose pooled
    outputs are its features: 0 its own, i those of the i-th stage before the last.
    """

    backbone: str = "efficientnet-lite0"
    weights: str = "imagenet"
    trainable: Literal["frozen", "last", "all"] = "frozen"
    dim: int = 256
    dropout: float = 0.1
    standardise: bool = False
    heads: int = 1
    levels: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class LossConfig:
    """The contrastive objective (``model/loss.py``); ``temperature`` divides the logits and is learned where
    ``learn_temperature``; ``target_temperature`` divides the similarities that make soft targets;
    ``target_pcs`` principal components of expression behind the targets of "pre" and "mixed";
    ``identity`` share of the one-hot targets in "mixed"."""

    name: LossName = "mixed"
    temperature: float = 0.07
    learn_temperature: bool = True
    target_temperature: float = 0.1
    target_pcs: int = 50
    identity: float = 0.5


@dataclass(frozen=True)
class OptimConfig:
    """AdamW; ``schedule`` "one-cycle" warms up over ``warmup`` of the steps and anneals, "constant" does not.
    ``clip_norm`` 0 = no clipping. ``micro_batch`` tiles that pass the backbone at a time, 0 = the whole batch; the
    loss is that of the whole batch either way (``training/gradcache.py``). ``compile`` runs the towers through
    torch.compile."""

    epochs: int = 60
    batch_size: int = 512
    lr: float = 5e-4
    weight_decay: float = 1e-3
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup: float = 0.1
    clip_norm: float = 0.0
    micro_batch: int = 0
    compile: bool = False
    seed: int = 0


@dataclass(frozen=True)
class AugmentConfig:
    """Beside flips and right angles, which are always on: ``stain_jitter`` σ perturbs each tile's stains, density
    times U(1 ± σ) plus U(± σ) (``training/augment.py``); only where the backbone learns."""

    stain_jitter: float = 0.0


@dataclass(frozen=True)
class ValidationConfig:
    """The spots a checkpoint is chosen on, by retrieval correlation; they give no gradient.

    ``by``: "none" (the last epoch is taken), a "section", a "donor", or ``fraction`` of all "spots" drawn with
    ``seed`` (as published). ``ids`` sections or donors, default the last one of the training set; ``every`` so
    many epochs."""

    by: Literal["none", "section", "donor", "spots"] = "none"
    every: int = 5
    fraction: float = 0.2
    ids: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class DistillConfig:
    """A student's lesson (``training/distil.py``): a tile every ``stride_um`` of the training sections' tissue
    beside those of the spots; ``neighbours`` the weight of agreeing on which spots are near, softened by
    ``temperature``."""

    stride_um: float = 80.0
    neighbours: float = 10.0
    temperature: float = 0.1


@dataclass(frozen=True)
class ReferenceConfig:
    """What the bundle recommends to a query: ``k`` neighbours, ``key`` embeddings, ``views``; and the texts."""

    k: int = 50
    key: Key = "expression"
    views: Literal[1, 8] = 8
    recommended_views: Literal[1, 8] = 8
    species: str = ""
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Config:
    """A whole run; the recommended values are those of the preset ``default`` (train/configs/default.toml)."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    reference: ReferenceConfig = field(default_factory=ReferenceConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain, JSON-able nesting of every value."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]
