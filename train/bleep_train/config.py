"""The configuration of a run: frozen dataclasses, read from TOML; an unknown key is an error."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from bleep_cli.errors import UsageError
from bleep_cli.types import TileSpec

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

    protocol: Literal["leak-free", "paper"] = "leak-free"
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
    """The contrastive objective (``loss.py``); ``temperature`` divides the logits and is learned where
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
    loss is that of the whole batch either way (``gradcache.py``). ``compile`` runs the towers through
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
    times U(1 ± σ) plus U(± σ) (``augment.py``); only where the backbone learns."""

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
    """A student's lesson (``distill.py``): a tile every ``stride_um`` of the training sections' tissue beside
    those of the spots; ``neighbours`` the weight of agreeing on which spots are near, softened by
    ``temperature``."""

    stride_um: float = 80.0
    neighbours: float = 10.0
    temperature: float = 0.1


@dataclass(frozen=True)
class ReferenceConfig:
    """What the bundle recommends to a query: ``k`` neighbours, ``key`` embeddings, ``views``; and the texts."""

    k: int = 50
    key: Literal["expression", "image"] = "expression"
    views: Literal[1, 8] = 8
    recommended_views: Literal[1, 8] = 8
    species: str = ""
    licence: str = ""
    citation: str = ""


@dataclass(frozen=True)
class Config:
    """A whole run; the recommended values are those of the preset ``default`` (configs/default.toml)."""

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


def load_config(name_or_path: str, overrides: Sequence[str] = (), base: Config | None = None) -> Config:
    """A preset by name or a TOML file, with ``section.key=value`` overrides (TOML values), on top of ``base``, by
    default the defaults.

    Raises ``UsageError`` for what is unknown or has the wrong type.
    """
    path = preset_path(name_or_path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"--config {name_or_path}: {error}") from error
    for override in overrides:
        _override(table, override)
    return config_from(table, name_or_path, base)


def config_from(table: Mapping[str, Any], where: str, base: Config | None = None) -> Config:
    """A nested table → ``Config``; what it does not say is as in ``base``."""
    config: Config = _fill(base or Config(), table, where)
    _check_ranges(config, where)
    return config


def _check_ranges(config: Config, where: str) -> None:
    """Raises ``UsageError`` for values of the right type that mean nothing."""
    model, optim, sigma, validation = config.model, config.optim, config.augment.stain_jitter, config.validation
    wrong = {
        f"model.heads = {model.heads}; 1 or more": model.heads < 1,
        f"optim.epochs = {optim.epochs}; 1 or more": optim.epochs < 1,
        f"optim.micro_batch = {optim.micro_batch}; 0 (off) or more": optim.micro_batch < 0,
        f"augment.stain_jitter = {sigma}; 0 (off) to below 1": not 0 <= sigma < 1,
        "augment.stain_jitter needs tiles, and a frozen backbone is fed cached features; "
        'set model.trainable = "last" or "all"': sigma > 0 and model.trainable == "frozen",
        f"validation.every = {validation.every}; 1 or more": validation.every < 1,
        f"validation.fraction = {validation.fraction}; between 0 and 1": not 0 < validation.fraction < 1,
        'validation.ids needs validation.by = "section" or "donor"': bool(validation.ids)
        and validation.by not in ("section", "donor"),
    }
    for told, is_wrong in wrong.items():
        if is_wrong:
            raise UsageError(f"{where}: {told}")


def preset_path(name_or_path: str) -> Path:
    """The TOML file of a preset (shipped beside the package) or the given file."""
    here = Path(__file__).parent
    for folder in (here / "configs", here.parent / "configs"):
        if (folder / f"{name_or_path}.toml").is_file():
            return folder / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(f"--config {name_or_path}: neither a preset nor a file; presets: {', '.join(presets())}")
    return path


def presets() -> list[str]:
    """Names of the shipped presets."""
    here = Path(__file__).parent
    return sorted({f.stem for d in (here / "configs", here.parent / "configs") for f in d.glob("*.toml")})


def _override(table: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not sign or not dot:
        raise UsageError(f"--set {override}: write section.key=value, such as optim.seed=1")
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string
    table.setdefault(section, {})[name] = parsed


def _fill(default: Any, table: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in fields(default)}
    unknown = set(table) - known
    if unknown:
        raise UsageError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}"
        )
    hints = get_type_hints(type(default))
    values = {}
    for name, value in table.items():
        old, spot = getattr(default, name), f"{where}: {name}"
        if is_dataclass(old):
            if not isinstance(value, Mapping):
                raise UsageError(f"{spot} is a table")
            values[name] = _fill(old, value, spot)
        else:
            values[name] = _checked(value, old, hints[name], spot)
    return replace(default, **values)


def _checked(value: Any, old: Any, hint: Any, spot: str) -> Any:
    choices = get_args(hint) if getattr(hint, "__origin__", None) is Literal else ()
    if choices:
        if not any(type(value) is type(choice) and value == choice for choice in choices):  # true is not 1
            raise UsageError(f"{spot} = {value!r}; choose one of {', '.join(map(str, choices))}")
        return value
    if hint == tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{spot} = {value!r}; give a list of names")
        return tuple(name.strip() for name in names if name.strip())
    if hint == tuple[int, ...]:
        value = value if isinstance(value, list) else [value]
        if not value or not all(type(v) is int and v >= 0 for v in value) or len(set(value)) < len(value):
            raise UsageError(f"{spot} = {value!r}; give different whole numbers from 0")
        return tuple(sorted(value))
    if isinstance(old, tuple):
        value = value if isinstance(value, list) else [value]
        if not value or not all(type(v) in (int, float) and v > 0 for v in value):
            raise UsageError(f"{spot} = {value!r}; give positive numbers")
        return tuple(sorted(float(v) for v in value))
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(old):
        raise UsageError(f"{spot} = {value!r}; a {type(old).__name__} is needed")
    return value


def dump_toml(config: Config) -> str:
    """The resolved configuration as TOML that ``load_config`` reads back to the same value."""
    lines = []
    for section, values in config.as_dict().items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)
