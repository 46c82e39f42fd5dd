"""What a user can choose of a prediction, and how a result states it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bleep_cli.bundle.contents import Key
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import UsageError
from bleep_cli.prediction.impute import WEIGHTED_TEMPERATURE, Aggregation
from bleep_cli.towers.precision import Precision
from bleep_cli.towers.session import Device


@dataclass(frozen=True)
class PredictOptions:
    """What a user can choose; None takes the bundle's own value.

    ``mpp`` overrides the slide's µm per level-0 pixel; ``stride_um`` is the distance between tiles (None: the
    smallest field's edge); ``min_tissue`` a fraction; ``at`` a file of positions in place of the grid;
    ``mask`` a GeoJSON or PNG file in place of the found tissue.
    """

    mpp: float | None = None
    stride_um: float | None = None
    min_tissue: float = 0.5
    at: Path | None = None
    mask: Path | None = None
    genes: tuple[str, ...] | None = None
    k: int | None = None
    aggregation: Aggregation = "average"
    temperature: float = WEIGHTED_TEMPERATURE
    key: Key | None = None
    views: int | None = None
    device: Device = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise UsageError(f"-k {self.k}: at least one neighbour is needed")
        if self.stride_um is not None and not 1.0 <= self.stride_um <= 10_000.0:
            raise UsageError(f"--stride-um {self.stride_um}: give 1 to 10000 µm")
        if not 0.0 <= self.min_tissue <= 1.0:
            raise UsageError(f"--min-tissue {self.min_tissue}: give a fraction from 0 to 1")
        if not self.temperature > 0:
            raise UsageError(f"--temperature {self.temperature}: give a positive number")


def resolved(bundle: Bundle, options: PredictOptions) -> tuple[int, Key, int]:
    """K, key and views: what was asked for, else the bundle's own."""
    k = 1 if options.aggregation == "simple" else min(options.k or bundle.info.k, bundle.n_spots)
    return k, options.key or bundle.info.key, options.views or bundle.info.recommended_views


def recorded_options(bundle: Bundle, options: PredictOptions) -> dict[str, Any]:
    """The options as every result states them: nothing left open, files by name and hash. Not by path: a path can
    carry patient data."""
    k, key, views = resolved(bundle, options)
    files = {name: _named(name, path) for name, path in (("at", options.at), ("mask", options.mask))}
    return asdict(options) | {"k": k, "key": key, "views": views, "genes": list(options.genes or [])} | files


def _named(option: str, path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise UsageError(f"--{option} {path.name}: {error.strerror}") from error
