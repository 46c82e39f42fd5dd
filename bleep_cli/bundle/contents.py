"""What a bundle holds: its attributes and its arrays, as they are built, read and written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np

from bleep_cli.base.reasons import did_you_mean
from bleep_cli.base.rows import Rows
from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.bundle.stored import DTYPES, ExpressionPrecision
from bleep_cli.choices import Aggregation, Key
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding, finding_of
from bleep_cli.limits import (
    LEAST_MPP,
    LEAST_TARGET_SUM,
    LEAST_TILE_UM,
    MOST_FIELDS,
    MOST_MPP,
    MOST_REFERENCE_SPOTS,
    MOST_TARGET_SUM,
    MOST_TILE_PX,
    MOST_TILE_UM,
)
from bleep_cli.towers.encoder import ALL_VIEWS, VIEW_CHOICES
from bleep_cli.towers.precision import Chosen, OtherTower
from bleep_cli.types import F32, F64, I64, Str, TileSpec

_NOT_IN_TEXTS = re.compile("[\ue000\ue001\ud800-\udfff]")  # no characters, or marks of errors.py
ENCODING_TYPE = "bleep-reference"
ENCODING_VERSION = "1.7"


@dataclass(frozen=True)
class SectionRecord:
    """What a bundle says of one of its sections."""

    id: str
    sha256: str
    """Hex digest of its data (:class:`bleep_cli.types.Section`)."""
    donor: str
    n: int
    """Number of its spots."""
    image_sha256: str = ""
    """Hex digest of its image's main file, by which a slide is known as it; empty where nobody kept it."""
    towers_saw_it: bool | None = None
    """Whether the towers were fitted to it; None where that is not known."""
    mpp: float | None = None
    """µm per level-0 pixel of its image; None where nobody kept it."""


def named_sections(records: Sequence[SectionRecord], bundle: str, **named: Sequence[str]) -> list[str]:
    """Ids of the sections that are named by donor or by id, in the order of the bundle.

    ``named`` is by the parameter that names them, such as ``donors`` or ``exclude_section``. Raises ``UsageError``
    for a name that is not there.
    """
    found: set[str] = set()
    for parameter, names in named.items():
        of = [record.donor if "donor" in parameter else record.id for record in records]
        absent = [name for name in names if name not in of]
        if absent:
            hint = did_you_mean(absent, dict.fromkeys(of))
            raise UsageError(f"{option(parameter)}: {', '.join(absent)} not in {bundle}{hint}")
        found |= {record.id for record, name in zip(records, of, strict=True) if name in names}
    return [record.id for record in records if record.id in found]


@dataclass(frozen=True)
class BundleInfo:
    """The attributes of a bundle that are not arrays."""

    tile: TileSpec
    """What the image tower takes; edges in µm."""
    sections: tuple[SectionRecord, ...]
    """The sections, in the order in which their spots are stored."""
    views: int = ALL_VIEWS
    """Flips and rotations averaged into each reference image embedding, 1 or 8."""
    recommended_views: int = ALL_VIEWS
    """How many a query should average."""
    k: int = 50
    """Neighbours that a query should average."""
    key: Key = "expression"
    """The embeddings that a query should be compared with."""
    aggregation: Aggregation = "average"
    """How a query should combine its neighbours; "corrected" stores the slope that this takes, "projected" the
    components, and the slope as well."""
    target_sum: float = 10_000.0
    """Counts that a spot is scaled to before log1p."""
    tower_input: str = "log1p"
    """What the expression tower was fed: "log1p", or "harmony" for batch-corrected log1p, which spots that
    are added later do not have."""
    expression_precision: ExpressionPrecision = "f16"
    """How expression is stored."""
    species: str = ""
    licence: str = ""
    citation: str = ""
    intended_use: str = "Research use only. Not for diagnostic use."
    parent_sha256: str = ""
    """Content hash of the bundle that this one was made from; empty where there is none."""
    merged_sha256: tuple[str, ...] = ()
    """Content hashes of the further bundles that were merged into that one."""
    findings: tuple[Finding, ...] = ()
    """What was noticed when it was built."""
    reliability: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able: what the numbers per gene were measured by; empty where nothing was."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able: the configuration that the towers were trained with."""


@dataclass(frozen=True)
class BundleArrays:
    """The arrays of a bundle with n spots, g genes, d dimensions, p panel genes, and its towers."""

    image_embeddings: F32
    """f32[n, d] unit vectors of the tiles around the spots."""
    expression_embeddings: F32
    """f32[n, d] unit vectors of the spots' expression."""
    expression: Rows
    """[n, g] log1p of counts per ``target_sum``: CSR, dense or on disk, read a slice of rows at a time."""
    symbols: Str
    """str[g] gene symbols, unique."""
    gene_ids: Str
    """str[g] Ensembl ids without their version; the symbols where there are none."""
    panel: I64
    """i64[p] columns of ``expression`` that the expression tower takes, in its order."""
    section: Str
    """str[n] id of each spot's section."""
    barcode: Str
    """str[n] its name within the section."""
    donor: Str
    """str[n] whom it is from."""
    xy_l0: F64
    """f64[n, 2] (x, y) spot centres in level-0 pixels of their own images."""
    image_tower: bytes
    """ONNX, float32."""
    expression_tower: bytes
    """ONNX."""
    gene_columns: Mapping[str, F32] = field(default_factory=dict)
    """Further f32[g] columns by name."""
    other_towers: Mapping[Chosen, OtherTower] = field(default_factory=dict)
    """The image tower at further precisions."""
    signature: Signature | None = None
    """How the tissue looks at its own scale and at wrong ones; None where the images are too coarse."""
    calibration: Calibration | None = None
    """How far predictions miss; None where that was not measured."""
    looks: Looks | None = None
    """What its tiles look like, by which strange ones are told; None where the image tower does not tell it."""


def info_of(attrs: Mapping[str, Any], stored: np.dtype[Any] | None) -> BundleInfo:
    """The info that the attributes of a bundle's root state; ``stored`` is the dtype of its expression.

    ``KeyError``, ``TypeError``, ``ValueError`` and ``AttributeError`` for attributes that state none.
    """
    tile, expression = attrs["tile"], attrs["expression"]
    if re.fullmatch("[0-9a-f]{64}", str(attrs["content_sha256"])) is None:
        raise ValueError("content_sha256")
    optional = {"aggregation": "average", "training": {}, "species": "", "licence": "", "citation": ""}
    optional |= {"intended_use": "", "parent_sha256": ""}
    return BundleInfo(
        tile=tile_of(tile),
        sections=tuple(map(_section, attrs["sections"])),
        target_sum=target_sum_of(expression["target_sum"]),
        tower_input=_text("tower_input", expression["tower_input"]),
        expression_precision="f16" if stored == np.dtype("f2") else "f32",
        merged_sha256=tuple(_text("merged_sha256", sha256) for sha256 in attrs.get("merged_sha256", ())),
        reliability=dict(attrs.get("reliability", {})),
        findings=tuple(map(finding_of, attrs.get("findings", ()))),
        **{name: checked_field(name, attrs[name]) for name in ("views", "recommended_views", "k", "key")},
        **{name: checked_field(name, attrs.get(name, default)) for name, default in optional.items()},
    )


def tile_of(stated: Mapping[str, Any]) -> TileSpec:
    """The tile that ``px`` and ``um`` describe; raises as :func:`info_of` does."""
    fields = stated["um"]
    if not isinstance(fields, list) or not 1 <= len(fields) <= MOST_FIELDS:
        raise ValueError(f"tile {stated!r:.100}")
    px = _whole("px", stated["px"], 1, MOST_TILE_PX)
    return TileSpec(px, tuple(_number("um", um, LEAST_TILE_UM, MOST_TILE_UM) for um in fields))


def target_sum_of(stated: Any) -> float:
    """Counts that spots are scaled to; ``ValueError`` for no such number."""
    return _number("target_sum", stated, LEAST_TARGET_SUM, MOST_TARGET_SUM)


def checked_field(name: str, value: Any) -> Any:
    """A value of the field ``name`` of :class:`BundleInfo` that a file states; ``ValueError`` for none."""
    known: dict[str, tuple[Any, ...]] = {"views": VIEW_CHOICES, "recommended_views": VIEW_CHOICES}
    known |= {"key": get_args(Key), "aggregation": get_args(Aggregation), "expression_precision": tuple(DTYPES)}
    if name in known:
        return _one_of(name, value, known[name])
    if name == "k":
        return _whole(name, value, 1, MOST_REFERENCE_SPOTS)
    return dict(value) if name == "training" else _text(name, value)


def _section(stated: Mapping[str, Any]) -> SectionRecord:
    name, sha256, donor = (_text(key, stated[key]) for key in ("id", "sha256", "donor"))
    if not (name + sha256 + donor).isprintable():
        raise ValueError(f"section {name!r:.100}")
    image, saw = _text("image_sha256", stated.get("image_sha256", "")), stated.get("towers_saw_it")
    n = _whole("n", stated["n"], 0, MOST_REFERENCE_SPOTS)
    mpp = stated.get("mpp")
    mpp = None if mpp is None else _number("mpp", mpp, LEAST_MPP, MOST_MPP)
    return SectionRecord(name, sha256, donor, n, image, None if saw is None else bool(saw), mpp)


def _whole(name: str, value: Any, least: int, most: int) -> int:
    number = _number(name, value, least, most)
    if number != int(number):
        raise ValueError(f"{name} {value!r:.100}")
    return int(number)


def _number(name: str, value: Any, least: float, most: float) -> float:
    """NaN is not within any bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} {value!r:.100}; {least:g} to {most:g} is read")
    return float(value)


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> Any:
    if isinstance(value, bool) or value not in known:
        raise ValueError(f"{name} {value!r:.100} is none of {', '.join(map(str, known))}")
    return value


def _text(name: str, value: Any) -> str:
    if _NOT_IN_TEXTS.search(str(value)):
        raise ValueError(f"{name} is no text")
    return str(value)
