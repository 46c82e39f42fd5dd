"""What a user can choose of a prediction, and how a result states it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.text import counted, file_text
from bleep_cli.bundle.open import Bundle
from bleep_cli.choices import MIN_TISSUE, WEIGHTED_TEMPERATURE, Aggregation, Device, Key, Plane, Precision
from bleep_cli.errors import UsageError, option


@dataclass(frozen=True)
class PredictOptions:
    """What a user can choose; None takes the bundle's own value.

    ``UsageError`` for values that cannot be.
    """

    mpp: float | None = None
    """µm per level-0 pixel, in place of what the slide states."""
    mpp_if_unstated: float | None = None
    """The same for a slide that states none, or none that can be; what a slide states goes before it."""
    scene: int | str | None = None
    """Which of the pictures of a slide's file, by index from 0 or by name; None: the largest."""
    stride_um: float | None = None
    """µm between tiles; None: the smallest field's edge."""
    min_tissue: float = MIN_TISSUE
    """Least fraction of tissue in a tile."""
    at: Path | None = None
    """A file of positions, in place of the grid."""
    mask: Path | None = None
    """A GeoJSON or picture file, in place of the tissue that would be found."""
    origin: Plane = "auto"
    """Where (0, 0) of ``at`` or ``mask`` lies, on a slide that states which part of it was scanned."""
    mask_class: tuple[str, ...] = ()
    """Classes of the mask that are tissue; none: all but those to ignore."""
    genes: tuple[str, ...] | None = None
    """Symbols or ids; None: all."""
    k: int | None = None
    """Neighbours to combine."""
    aggregation: Aggregation | None = None
    """How they are combined."""
    temperature: float = WEIGHTED_TEMPERATURE
    """Of the softmax over cosine that ``weighted`` takes."""
    key: Key | None = None
    """The embeddings of the reference that tiles are compared with."""
    views: int | None = None
    """1, or 8 flips and rotations averaged."""
    device: Device = "auto"
    """Where the image tower is to run."""
    precision: Precision = "auto"
    """Of the image tower."""

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise UsageError(f"{option('k')} {self.k}: at least one neighbour is needed")
        if self.stride_um is not None and not 1.0 <= self.stride_um <= 10_000.0:
            raise UsageError(f"{option('stride_um')} {self.stride_um}: give 1 to 10000 µm")
        if not 0.0 <= self.min_tissue <= 1.0:
            raise UsageError(f"{option('min_tissue')} {self.min_tissue}: give a fraction from 0 to 1")
        if not 1e-4 <= self.temperature <= 1e4:
            raise UsageError(f"{option('temperature')} {self.temperature}: give 0.0001 to 10000")


def resolved(bundle: Bundle, options: PredictOptions) -> tuple[int, Key, int, Aggregation]:
    """K, key, views and aggregation: what was asked for, else the bundle's own.

    ``UsageError`` for more neighbours than the reference has spots: every tile would get the same.
    """
    if options.k is not None and options.k > bundle.n_spots:
        raise UsageError(f"{option('k')} {options.k}: {bundle.name} holds {counted(bundle.n_spots, 'spot')}")
    aggregation = options.aggregation or bundle.info.aggregation
    k = 1 if aggregation == "simple" else min(options.k or bundle.info.k, bundle.n_spots)
    key, views = options.key or bundle.info.key, options.views or bundle.info.recommended_views
    return k, key, views, aggregation


def recorded_options(bundle: Bundle, options: PredictOptions) -> dict[str, Any]:
    """The options as every result states them: nothing left open, files by name and hash. Not by path: a path can
    carry patient data."""
    k, key, views, aggregation = resolved(bundle, options)
    files = {name: _named(name, path) for name, path in (("at", options.at), ("mask", options.mask))}
    chosen = {"k": k, "key": key, "views": views, "aggregation": aggregation, "genes": list(options.genes or [])}
    chosen |= {"mask_class": list(options.mask_class)}
    return asdict(options) | chosen | files


def _named(parameter: str, path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        return {"name": file_text(path.name), "sha256": file_sha256(path)}
    except OSError as error:
        raise UsageError(f"{option(parameter)} {path.name}: {error.strerror}") from error
