"""What a bundle holds: its attributes and its arrays, as they are built, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bleep_cli.base.rows import Rows
from bleep_cli.bundle.calibration import Calibration
from bleep_cli.bundle.looks import Looks
from bleep_cli.bundle.signature import Signature
from bleep_cli.bundle.stored import ExpressionPrecision
from bleep_cli.choices import Aggregation, Key
from bleep_cli.findings import Finding
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.towers.precision import Chosen, OtherTower
from bleep_cli.types import F32, F64, I64, Str, TileSpec

ENCODING_TYPE = "bleep-reference"
ENCODING_VERSION = "1.4"


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
    """How a query should combine its neighbours; "corrected" stores the slope that this takes."""
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
