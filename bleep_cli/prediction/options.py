"""What a user can choose of a prediction, and how a result states it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.text import counted, file_text
from bleep_cli.bundle.learned.calibration import LEAST, MOST
from bleep_cli.bundle.open import Bundle
from bleep_cli.choices import (
    MIN_TISSUE,
    OOD_RATE,
    WEIGHTED_TEMPERATURE,
    Aggregation,
    Device,
    Key,
    Plane,
    Precision,
)
from bleep_cli.errors import UsageError, option
from bleep_cli.prediction.excluded import excluded_sections, level_sections

MOST_SAMPLES = 100


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
    min_r: float | None = None
    """Held-out r in the reference from which on a gene is called reliable; None: none is called so or not."""
    drop_unreliable: bool = False
    """Whether genes below ``min_r`` are left out."""
    ood_rate: float = OOD_RATE
    """Share of the reference's own left-out tiles that are called strange to it."""
    interval: float | None = None
    """The chance with which a measured value is to lie between the layers ``lower`` and ``upper``; None: none."""
    samples: int = 0
    """Draws that vary as measured maps do, a layer each."""
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
    exclude_donor: tuple[str, ...] = ()
    """Donors of the reference whose spots have no part."""
    exclude_section: tuple[str, ...] = ()
    """Sections of the reference, by id, whose spots have no part."""
    level_of: tuple[str, ...] = ()
    """Sections of the reference, by id, whose measured level predictions take: of the slide's own donor."""
    include_own: bool = False
    """Keeps the donor of a slide that is itself a section of the reference."""
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
        if self.min_r is not None and not -1.0 <= self.min_r <= 1.0:
            raise UsageError(f"{option('min_r')} {self.min_r}: give a correlation from -1 to 1")
        if self.interval is not None and not LEAST <= self.interval <= MOST:
            raise UsageError(f"{option('interval')} {self.interval}: give a chance from {LEAST} to {MOST}")
        if not 0 <= self.samples <= MOST_SAMPLES:
            raise UsageError(f"{option('samples')} {self.samples}: give 0 to {MOST_SAMPLES}")
        if not 0.0 < self.ood_rate < 1.0:
            raise UsageError(f"{option('ood_rate')} {self.ood_rate}: give a share between 0 and 1")
        if self.drop_unreliable and self.min_r is None:
            raise UsageError(f"{option('drop_unreliable')} leaves out genes below {option('min_r')}; give it")
        if not 1e-4 <= self.temperature <= 1e4:
            raise UsageError(f"{option('temperature')} {self.temperature}: give 0.0001 to 10000")


def resolved(bundle: Bundle, options: PredictOptions) -> tuple[int, Key, int, Aggregation]:
    """K, key, views and aggregation: what was asked for, else the bundle's own.

    ``UsageError`` for more neighbours than the reference has spots: every tile would get the same; and for
    sections or donors to exclude that it does not have, or that are all it has.
    """
    gone = excluded_sections(bundle.info, options, bundle.name)
    level_sections(bundle.info, options.level_of, gone, bundle.name)
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
    chosen |= {"mask_class": list(options.mask_class), "level_of": list(options.level_of)}
    # Whom sections are from is not said: a donor's name can be a patient's.
    chosen |= {"exclude_section": list(excluded_sections(bundle.info, options, bundle.name))}
    recorded = asdict(options) | chosen | files
    del recorded["exclude_donor"]
    return recorded


def _named(parameter: str, path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        return {"name": file_text(path.name), "sha256": file_sha256(path)}
    except OSError as error:
        raise UsageError(f"{option(parameter)} {path.name}: {error.strerror}") from error
