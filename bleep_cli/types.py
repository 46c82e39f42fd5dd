"""The types that travel between the rooms. Names carry their coordinate plane and unit.

Planes, once for the whole project:

- ``l0``  level-0 pixels of the slide as its reader presents it, origin top left, **(x, y)**;
- ``um``  micrometres, the same origin and order;
- ``px``  pixels of a tile after resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import BleepError
from bleep_cli.findings import Finding

if TYPE_CHECKING:
    from scipy import sparse


U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]
Bool = NDArray[np.bool_]
Str = NDArray[np.str_]

Blocks = Iterator[tuple[int, F32]]
"""``(first_row, f32[b, g])`` in row order: a matrix that is never whole in memory."""
Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``: what long stages report to; they never print themselves."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """The callback of a caller that does not want to know."""


class Tells(Protocol):
    """Whoever a person sees through: a console, a log, a window. Stages tell it things, they never print."""

    def say(self, message: str) -> None:
        """A message."""

    def finding(self, finding: Finding) -> None:
        """Something that was noticed."""

    def error(self, error: BleepError) -> None:
        """An error that does not end the work."""

    def worded(self, error: BleepError) -> str:
        """An error's message with its parameters as this reader knows them (options, keys, arguments)."""

    def data(self, record: Mapping[str, Any], lines: list[str]) -> None:
        """The result, as a record for programs and as lines for a person."""

    def each(self, record: Mapping[str, Any], line: str | None) -> None:
        """One of several results, told as it comes; a person need not be told of every record."""

    def progress(self, what: str) -> AbstractContextManager[Progress]:
        """A progress callback for the time of the context."""


class Slide(Protocol):
    """One slide, RGB u8, whatever its file format."""

    @property
    def name(self) -> str:
        """File name without its folders (a path can carry patient data)."""

    @property
    def size_l0(self) -> tuple[int, int]:
        """(width, height) of level 0 in pixels."""

    @property
    def mpp(self) -> float:
        """Micrometres per level-0 pixel."""

    @property
    def mpp_source(self) -> str:
        """Where that was found: a place in the file, or "given" by the user."""

    @property
    def scene(self) -> int:
        """Which of the pictures of its file it is, from 0."""

    @property
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part; the whole slide where the format states none."""

    @property
    def sha256(self) -> str:
        """Hash of the slide's (main) file."""

    def hash_ahead(self) -> None:
        """Begins to work it out beside whatever comes next."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noticed when it was opened."""

    def read(self, xy_l0: tuple[float, float], size_l0: tuple[float, float], out_px: tuple[int, int]) -> U8:
        """Region with top-left ``xy_l0`` and (w, h) ``size_l0``, resampled to ``out_px`` (w, h).

        Returns ``u8[h, w, 3]``; white outside the slide. Area-correct when shrinking, bilinear when enlarging.
        """

    def close(self) -> None:
        """Releases the file."""


@dataclass(frozen=True)
class TileSpec:
    """What one tile is: a square of pixels at one or more fields of view around the same centre.

    The image tower takes the fields stacked along the channel axis: ``u8[b, px, px, 3 * len(um)]``.
    """

    px: int
    """Edge of a tile in pixels, the same for every field."""
    um: tuple[float, ...]
    """Edge of each field of view in µm, ascending."""

    def mpp(self, field: int = 0) -> float:
        """µm per tile pixel of a field."""
        return self.um[field] / self.px


@dataclass(frozen=True)
class TileGrid:
    """The n tiles on one slide."""

    centre_l0: F64
    """f64[n, 2] (x, y) centres of the tiles in level-0 pixels."""
    array_row: I64
    """i64[n] row of each tile in the grid, or as the given positions name it."""
    array_col: I64
    """i64[n] its column."""
    tile_id: Str
    """str[n] names, unique within the grid."""
    region: Str
    """str[n] the piece of tissue, or the section, that a tile lies on."""
    spec: TileSpec
    """Pixels and fields of view of every tile."""
    mpp: float
    """µm per level-0 pixel of the slide."""
    pitch_um: float
    """µm between the centres of neighbouring tiles; the spot diameter in a plot."""

    def __len__(self) -> int:
        return len(self.centre_l0)

    def subset(self, rows: I64) -> TileGrid:
        """The tiles ``rows`` i64[m], in that order."""
        kept = {name: getattr(self, name)[rows] for name in ("array_row", "array_col", "tile_id", "region")}
        return replace(self, centre_l0=self.centre_l0[rows], **kept)

    def edge_l0(self, field: int = 0) -> float:
        """Edge of a field in level-0 pixels."""
        return self.spec.um[field] / self.mpp

    def drawn_edge_l0(self) -> float:
        """Edge of a tile in a picture, in level-0 pixels: its own, cut to the pitch where tiles overlap."""
        return min(self.edge_l0(), self.pitch_um / self.mpp)


@dataclass(frozen=True)
class SpotPlane:
    """The plane that a section's positions count in, before they are put into pixels of its image."""

    scales: Mapping[str, float]
    """By the name of a picture of the plane ("hires", "lowres"): its pixels per pixel of the positions."""
    sizes: Mapping[str, tuple[int, int]]
    """(width, height) in pixels of those pictures that are at hand."""
    um: float | None
    """µm per pixel of the positions; None where neither array nor files say it."""
    um_from: str
    """What says so, in words."""
    spans: F64
    """f64[2, 2] the least and the largest (x, y) of all positions, in tissue or not."""
    usual_um: tuple[float, float] | None = None
    """The least and the most µm between neighbouring spots of arrays of its kind; None where any may be right."""
    image_scale: float | None = None
    """Pixels of the image per pixel of the positions by the user's word."""
    orientation: str = ""
    """How the image was turned or mirrored against the positions, by the user's word; empty where nobody says."""


@dataclass(frozen=True)
class Section:
    """One tissue section with the expression measured at its n spots, of g genes."""

    id: str
    """Its name, unique within a cohort."""
    donor: str
    """Whom the tissue is from."""
    sha256: str
    """Hex digest of counts, genes, barcodes and coordinates as its files state them, spots of too few counts among
    them: how many of these are left out (``min_counts``), and by which copy of its image its spots are seen, does
    not make it another section. With n it tells which spots there are."""
    counts: sparse.csr_matrix
    """CSR f32[n, g] raw counts; None where a section is only taken to a machine that reads its tiles."""
    symbols: Str
    """str[g] gene symbols; two genes may have the same."""
    gene_ids: Str
    """str[g] Ensembl ids without their version, unique; the symbols where the section names no ids."""
    barcodes: Str
    """str[n] names of the spots."""
    xy_l0: F64
    """f64[n, 2] (x, y) spot centres in the image's level-0 pixels; in those of its plane where it has one yet."""
    image: str
    """Path of the H&E image, as it can be opened."""
    mpp: float | None
    """µm per level-0 pixel by the user's word; None = ask the image."""
    scene: int | str | None = None
    """Which of the pictures of the image's file, by index from 0 or by name; None: the largest."""
    findings: tuple[Finding, ...] = ()
    """What reading had to drop or repair, or found odd."""
    plane: SpotPlane | None = None
    """What its files say of the positions' plane; None once they are in pixels of its image."""


@dataclass(frozen=True)
class Neighbours:
    """The k nearest reference spots of each of n queries.

    Equal similarities are ordered by index, so results do not depend on the device.
    """

    index: I64
    """i64[n, k] rows of the reference, nearest first."""
    similarity: F32
    """f32[n, k] cosine similarity of each."""


@dataclass(frozen=True)
class Prediction:
    """What ``bleep predict`` knows about one slide: n tiles, g genes; expression comes in blocks, never whole."""

    slide_id: str
    """The slide's name in the output."""
    grid: TileGrid
    """The n tiles."""
    in_tissue: Bool
    """bool[n] whether each lies on tissue; false only at given positions that say so."""
    symbols: Str
    """str[g] symbols of the predicted genes, unique."""
    gene_ids: Str
    """str[g] their ids, Ensembl or whatever the reference is joined by."""
    neighbours: Neighbours
    """The k reference rows behind each tile's expression."""
    obs: Mapping[str, F32 | Bool]
    """Further f32[n] or bool[n] columns by name: ``similarity``, the mean cosine to the neighbours, and
    reliability."""
    blocks: Callable[[], Blocks]
    """Yields ``(first_row, f32[b, g])`` in row order, log1p of counts per ``target_sum``; can be called again."""
    hires: U8
    """u8[h, w, 3] overview of the slide."""
    hires_scalef: float
    """Pixels of ``hires`` per level-0 pixel."""
    provenance: Mapping[str, Any]
    """JSON-able: hashes, versions, options, units."""
    findings: tuple[Finding, ...] = ()
    """What was noticed of the slide and of its tiles; the provenance has them, too."""
    obsm: Mapping[str, F32] = field(default_factory=dict)
    """Further f32[n, d] by name: ``offset``, by which corrected and projected expression is more than its
    neighbours' mean (each row times the bundle's slope)."""

    var: Mapping[str, F32 | Bool] = field(default_factory=dict)
    """Further f32[g] or bool[g] by name: ``reference_p01`` and ``reference_p99``, between which 98 % of the
    reference's spots were measured; how well each gene is predicted (:mod:`bleep_cli.bundle.learned.per_gene`)."""

    layers: Mapping[str, Callable[[], Blocks]] = field(default_factory=dict)
    """Further expression by name, each as ``blocks``: ``lower`` and ``upper``, between which a value lies with the
    chance that was asked for; ``sample_1``, ..., draws that vary as measured maps do."""

    def __iter__(self) -> Iterator[tuple[int, F32]]:
        """Its blocks, ``(first_row, f32[b, g])`` in row order, each computed when it is asked for."""
        return self.blocks()


class Encoder(Protocol):
    """Anything that embeds tiles."""

    def embed(self, tiles: U8) -> F32:
        """``u8[b, px, px, 3 * fields]`` → unit vectors ``f32[b, d]``."""


class Index(Protocol):
    """Anything that finds nearest reference rows by cosine similarity."""

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[n, d]`` unit vectors → the ``k`` nearest rows."""
