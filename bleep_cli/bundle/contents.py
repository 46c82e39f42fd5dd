"""What a bundle holds: its attributes and its arrays, as they are built, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bleep_cli.base.rows import Rows
from bleep_cli.bundle.stored import ExpressionPrecision
from bleep_cli.choices import Key
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.towers.precision import Chosen, OtherTower
from bleep_cli.types import F32, F64, I64, Str, TileSpec

ENCODING_TYPE = "bleep-reference"
ENCODING_VERSION = "1.1"


@dataclass(frozen=True)
class SectionRecord:
    """What a bundle says of one of its sections."""

    id: str
    sha256: str
    donor: str
    n: int


@dataclass(frozen=True)
class BundleInfo:
    """The attributes of a bundle that are not arrays; units are µm, expression is log1p per ``target_sum``.

    ``views`` is the number of flips and rotations averaged on the reference side; ``recommended_views`` what
    a query should use; ``key`` which embeddings queries are compared with; ``tower_input`` what the
    expression tower was fed with: "log1p", or "harmony" for batch-corrected log1p (such a bundle cannot grow);
    ``expression_precision`` how expression is stored.
    """

    tile: TileSpec
    sections: tuple[SectionRecord, ...]
    views: int = ALL_VIEWS
    recommended_views: int = ALL_VIEWS
    k: int = 50
    key: Key = "expression"
    target_sum: float = 10_000.0
    tower_input: str = "log1p"
    expression_precision: ExpressionPrecision = "f16"
    species: str = ""
    licence: str = ""
    citation: str = ""
    intended_use: str = "Research use only. Not for diagnostic use."
    parent_sha256: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class BundleArrays:
    """The arrays of a bundle with n spots, g genes, d dimensions, p panel genes.

    ``image_embeddings``, ``expression_embeddings`` f32[n, d] unit vectors; ``expression`` [n, g], CSR, dense or
    on disk, read a slice of rows at a time;
    ``symbols``, ``gene_ids`` str[g]; ``gene_columns`` further f32[g] per gene; ``panel`` i64[p] columns of
    ``expression`` that the expression tower takes, in its order; ``section``, ``barcode``, ``donor`` str[n];
    ``xy_l0`` f64[n, 2]; towers as ONNX bytes, ``other_towers`` the image tower at further precisions.
    """

    image_embeddings: F32
    expression_embeddings: F32
    expression: Rows
    symbols: Str
    gene_ids: Str
    panel: I64
    section: Str
    barcode: Str
    donor: Str
    xy_l0: F64
    image_tower: bytes
    expression_tower: bytes
    gene_columns: Mapping[str, F32] = field(default_factory=dict)
    other_towers: Mapping[Chosen, OtherTower] = field(default_factory=dict)
