"""The configuration of a run: frozen dataclasses, read from TOML; an unknown key is an error."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from bleep_cli.choices import Aggregation, Key
from bleep_cli.types import TileSpec
from bleep_train.config.protocols import DataProtocol

LossName = Literal["paper", "paper-clip", "clip", "unit", "pre", "mixed", "cca"]
LOSSES: tuple[LossName, ...] = get_args(LossName)
PUBLISHED: tuple[LossName, ...] = ("paper", "paper-clip")
"""Those of the paper: on vectors as they leave the LayerNorm, at a fixed temperature, of one head."""


ValidationBy = Literal["none", "auto", "section", "donor", "blocks", "spots"]
"""What a run holds back to choose its checkpoint on."""


@dataclass(frozen=True)
class DataConfig:
    """From sections to what the towers see."""

    protocol: DataProtocol = "leak-free"
    """Under "leak-free" held-out sections are not read; under "paper" they enter the panel and Harmony, as in the
    published code, and results on them are flattered."""
    target_sum: float = 10_000.0
    """Counts per spot after normalisation."""
    panel: Literal["hvg", "variance"] = "variance"
    """How the expression tower's genes are chosen. "hvg": ``panel_genes`` highly variable genes per section
    (scanpy), the union of them, as the paper does. "variance": the ``panel_genes`` of largest log1p variance over
    the training spots."""
    panel_genes: int = 1000
    """See ``panel``."""
    min_spots: float = 0.10
    """Least fraction of spots that a panel gene is detected in."""
    harmony: bool = False
    """Batch-corrects the panel across sections before training."""
    tile_um: tuple[float, ...] = (155.0,)
    """Edge of each field of view around a spot, in µm."""
    tile_px: int = 224
    """Edge of a tile in pixels, the same for every field."""

    @property
    def tile(self) -> TileSpec:
        """The tile in the runtime's terms."""
        return TileSpec(self.tile_px, self.tile_um)


@dataclass(frozen=True)
class ModelConfig:
    """The towers."""

    backbone: str = "efficientnet-lite0"
    """A name of ``backbones/build.py``."""
    weights: str = "imagenet"
    """The backbone's: "imagenet", "random" or a path."""
    trainable: Literal["frozen", "last", "all"] = "frozen"
    """How much of the backbone learns; in the paper all of it."""
    dim: int = 256
    """Length of an embedding of one head."""
    dropout: float = 0.1
    """Of the projection heads."""
    standardise: bool = False
    """Scales both towers' inputs to the training mean and deviation, in the graph."""
    heads: int = 1
    """Projection heads per tower, each with a loss of its own."""
    closed_form: bool = False
    """Puts beside them a linear head that is fitted in closed form (``training/closed_form.py``) and weighs as
    much as they do together."""
    start: Literal["random", "cca"] = "random"
    """What the heads that learn begin as: the published heads with random weights, or "cca", linear ones that are
    fitted in closed form first; some five epochs are enough for these."""
    components: int = 40
    """Principal components of expression that a closed form is fitted to, and its dimensions."""
    penalty: float = 0.0
    """Ridge penalty of a closed form; 0: chosen on training spots left out, by donor, else section, else block."""
    levels: tuple[int, ...] = (0,)
    """Of the backbone, whose pooled outputs are its features: 0 its own, i those of the i-th stage before the
    last."""

    @property
    def fits(self) -> bool:
        """Whether a head is fitted in closed form before any epoch."""
        return self.closed_form or self.start == "cca"


@dataclass(frozen=True)
class LossConfig:
    """The contrastive objective (``model/loss.py``)."""

    name: LossName = "mixed"
    """Which of the objectives."""
    temperature: float = 0.07
    """Divides the logits; the first value, where it is learned."""
    learn_temperature: bool = True
    """Whether it is learned."""
    target_temperature: float = 0.1
    """Divides the similarities that make soft targets."""
    target_pcs: int = 50
    """Principal components of expression behind the targets of "pre" and "mixed"."""
    identity: float = 0.5
    """Share of the one-hot targets in "mixed"."""


@dataclass(frozen=True)
class OptimConfig:
    """AdamW over batches of spots."""

    epochs: int = 60
    """Passes over the training spots."""
    batch_size: int = 512
    """Spots that are told apart at a time, on all ranks together."""
    lr: float = 5e-4
    """Largest learning rate."""
    weight_decay: float = 1e-3
    """Of AdamW."""
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    """The rate over the steps: "one-cycle" warms up and anneals to zero, "constant" does not."""
    warmup: float = 0.1
    """Share of the steps that warm up."""
    clip_norm: float = 0.0
    """Largest norm of the gradient; 0 = no clipping."""
    micro_batch: int = 0
    """Tiles that pass the backbone at a time, 0 = the whole batch; the loss is that of the whole batch either way
    (``training/gradcache.py``)."""
    compile: bool = False
    """Runs the towers through torch.compile."""
    seed: int = 0
    """Of weights, batches, views, stains and dropout."""


@dataclass(frozen=True)
class AugmentConfig:
    """What is done to tiles beside flips and right angles, which are always on; only where the backbone learns."""

    stain_jitter: float = 0.0
    """σ: perturbs each tile's stains, density times U(1 ± σ) plus U(± σ) (``training/augment.py``)."""


@dataclass(frozen=True)
class ValidationConfig:
    """The spots a checkpoint is chosen on, by retrieval correlation; they give no gradient."""

    by: ValidationBy = "none"
    """What is held back: "none" (the last epoch is taken), a "section", a "donor", a ``fraction`` of all "spots"
    (as published), or "blocks", one strip of five across the longer side of every section. Spots nearer to a
    strip than the edge of the largest field of view, in x and in y, are not learned from either. "auto": a donor
    where there are several, else a section where there are several, else blocks."""
    every: int = 5
    """Epochs from one validation to the next."""
    fraction: float = 0.2
    """Of all spots, where they are drawn spot by spot."""
    ids: tuple[str, ...] = ()
    """Sections or donors; default the last one of the training set."""
    seed: int = 0
    """Of the draw of spots, or of each section's strip."""


@dataclass(frozen=True)
class DistillConfig:
    """A student's lesson (``training/distil.py``)."""

    stride_um: float = 80.0
    """µm between the tiles of the training sections' tissue that are learned from beside those of the spots."""
    neighbours: float = 10.0
    """Weight of agreeing on which spots are near."""
    temperature: float = 0.1
    """Softens whose neighbours they are."""


@dataclass(frozen=True)
class ReferenceConfig:
    """What the bundle recommends to a query, and its texts."""

    k: int = 50
    """Neighbours averaged."""
    key: Key = "expression"
    """Embeddings that a query is compared with."""
    aggregation: Aggregation = "average"
    """How its neighbours are combined."""
    views: Literal[1, 8] = 8
    """Views averaged for the reference's own spots."""
    recommended_views: Literal[1, 8] = 8
    """Views averaged for a query's tiles."""
    species: str = ""
    """What the sections are of."""
    licence: str = ""
    """Of the bundle."""
    citation: str = ""
    """How the bundle is to be cited."""


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
