"""The types that travel between the rooms. Names carry their coordinate plane and unit.

Planes, once for the whole project:

- ``l0``  level-0 pixels of the slide as its reader presents it, origin top left, **(x, y)**;
- ``um``  micrometres, the same origin and order;
- ``px``  pixels of a tile after resampling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import BleepError

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
Str = NDArray[np.str_]

Progress = Callable[[str, int, int], None]
"""``progress(stage, done, total)``: what long stages report to; they never print themselves."""


def no_progress(_stage: str, _done: int, _total: int) -> None:
    """The callback of a caller that does not want to know."""


class Tells(Protocol):
    """Whoever a person sees through: a console, a log, a window. Stages tell it things, they never print."""

    def say(self, message: str) -> None:
        """A message."""

    def error(self, error: BleepError) -> None:
        """An error that does not end the work."""

    def worded(self, error: BleepError) -> str:
        """An error's message with its parameters as this reader knows them (options, keys, arguments)."""

    def data(self, record: Mapping[str, Any], lines: list[str]) -> None:
        """The result, as a record for programs and as lines for a person."""

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
    def bounds_l0(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) of the scanned part; the whole slide where the format states none."""

    @property
    def sha256(self) -> str:
        """Hash of the slide's (main) file."""

    def read(self, xy_l0: tuple[float, float], size_l0: tuple[float, float], out_px: tuple[int, int]) -> U8:
        """Region with top-left ``xy_l0`` and (w, h) ``size_l0``, resampled to ``out_px`` (w, h).

        Returns ``u8[h, w, 3]``; white outside the slide. Area-correct when shrinking, bilinear when enlarging.
        """

    def close(self) -> None:
        """Releases the file."""


@dataclass(frozen=True)
class TileSpec:
    """What one tile is: ``px`` pixels on edge, at one or more fields of view around the same centre.

    ``um`` holds the edge of each field in µm, ascending. The image tower takes the fields stacked along
    the channel axis: ``u8[b, px, px, 3 * len(um)]``.
    """

    px: int
    um: tuple[float, ...]

    def mpp(self, field: int = 0) -> float:
        """µm per tile pixel of a field."""
        return self.um[field] / self.px


@dataclass(frozen=True)
class TileGrid:
    """Tile centres on one slide.

    ``centre_l0`` f64[n, 2] (x, y); ``array_row``, ``array_col`` i64[n]; ``tile_id`` str[n], unique;
    ``region`` str[n], the tissue piece a tile lies on; ``spec`` the tile; ``mpp`` of the slide's level 0;
    ``pitch_um`` the distance between neighbouring tiles (the spot diameter in a plot).
    """

    centre_l0: F64
    array_row: I64
    array_col: I64
    tile_id: Str
    region: Str
    spec: TileSpec
    mpp: float
    pitch_um: float

    def __len__(self) -> int:
        return len(self.centre_l0)

    def edge_l0(self, field: int = 0) -> float:
        """Edge of a field in level-0 pixels."""
        return self.spec.um[field] / self.mpp


@dataclass(frozen=True)
class Section:
    """One tissue section with measured expression.

    ``counts`` CSR[n, g] raw counts (f32); ``symbols`` and ``gene_ids`` str[g], symbols unique;
    ``barcodes`` str[n]; ``xy_l0`` f64[n, 2] spot centres (x, y) in the image's level-0 pixels;
    ``image`` the open-able path of the H&E image; ``mpp`` the user's override, None = ask the image;
    ``sha256`` of counts, coordinates and identity; ``notes`` what reading had to drop or repair.
    """

    id: str
    donor: str
    sha256: str
    counts: Any
    symbols: Str
    gene_ids: Str
    barcodes: Str
    xy_l0: F64
    image: str
    mpp: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Neighbours:
    """``index`` i64[n, k] rows of the reference, nearest first; ``similarity`` f32[n, k] cosine.

    Equal similarities are ordered by index, so results do not depend on the device.
    """

    index: I64
    similarity: F32


@dataclass(frozen=True)
class Prediction:
    """What ``bleep predict`` knows about one slide; expression comes in blocks, never whole.

    ``slide_id`` names the slide in the output; ``grid`` the n tiles; ``in_tissue`` bool[n];
    ``symbols``, ``gene_ids`` str[g]; ``neighbours`` n × k reference rows; ``obs`` further f32[n] columns by
    name (``similarity`` = mean cosine to the neighbours, reliability); ``blocks()`` yields
    ``(first_row, f32[b, g])`` in row order, log1p of counts per ``target_sum``, and can be called again;
    ``hires`` u8[h, w, 3] overview with ``hires_scalef`` = hires px per level-0 px;
    ``provenance`` JSON-able: hashes, versions, options, units.
    """

    slide_id: str
    grid: TileGrid
    in_tissue: NDArray[np.bool_]
    symbols: Str
    gene_ids: Str
    neighbours: Neighbours
    obs: Mapping[str, F32]
    blocks: Callable[[], Iterator[tuple[int, F32]]]
    hires: U8
    hires_scalef: float
    provenance: Mapping[str, Any]

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
