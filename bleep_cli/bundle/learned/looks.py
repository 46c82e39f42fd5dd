"""What the tiles of a reference look like, as a bundle keeps it, and how strange other tiles are to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.bundle.learned.around import Around, with_those_around
from bleep_cli.bundle.stored import read_group
from bleep_cli.types import F32, F64, I64, Bool

if TYPE_CHECKING:
    from bleep_cli.bundle.storage.arrays import Group

LOOKS = "looks"
"""The group of its arrays."""
TILES = f"{LOOKS}/tiles"
DTYPES = {"tiles": "<f2", "spot": "<i8", "left_out": "<f4"}
AROUND = f"{LOOKS}/left_out_around"
AROUND_UM = "around_um"
"""Attribute: how far those around a tile lie at most; where it is, so is the array."""
STAIN = 6
"""How many of the last looks are of the stain; those before are of the features."""
NEAREST = 10
VIEWS = "views"
"""Attribute: of how many views of a tile its looks are the mean; before format 1.6 not stated, and all that its
embedding is of."""
QUERY_BLOCK = 256


@dataclass(frozen=True)
class Looks:
    """Looks of m tiles of the reference, l each, and how far they lie from those of other donors."""

    tiles: NDArray[np.float16]
    """f16[m, l]."""
    spot: I64
    """i64[m] rows of the reference, ascending."""
    left_out: F32
    """f32[c] scores of the reference's own tiles, each against all tiles but its own group's; ascending."""
    middle: tuple[float, float]
    """Median distance of those, of features and of stain."""
    reach: tuple[float, float]
    """From there to their 95th percentile."""
    by: str
    """What a group is: donor, section or block."""
    around: Around | None = None
    """What scores with the tiles around are measured by; None where tiles are judged each by itself: before format
    1.7, and where the reference's spots lie too far apart, or at an unknown scale."""

    def scores(self, looks: F32) -> F32:
        """How strange tiles of looks f32[q, l] are, f32[q]: 0 like the middle one of the reference's own left-out
        tiles, 1 like the strangest of twenty of these."""
        return scored(part_distances(looks, self.tiles.astype(np.float32)), self.middle, self.reach)

    def of_spots(self, rows: I64) -> Looks | None:
        """The same of the reference's ``rows`` i64[n], ascending, alone, numbered by their place among them, with
        the distances as they were; None where it has no tile of them."""
        kept = np.isin(self.spot, rows)
        if not kept.any():
            return None
        return replace(self, tiles=self.tiles[kept], spot=np.searchsorted(rows, self.spot[kept]))

    def judged(self, scores: F32, xy_um: F64, counted: Bool) -> tuple[F32, F32]:
        """Scores f32[n] of tiles at f64[n, 2] with those of the tiles around each, and p f32[n]: the share of the
        reference's own left-out tiles that are at least as strange.

        bool[n] ``counted`` are those that tell something of the tiles beside them. A tile with too few around it
        is judged by itself.
        """
        if self.around is None:
            return scores, self.p_values(scores)
        together, enough = with_those_around(scores, xy_um, self.around.um, counted)
        return together, np.where(enough, _share_above(self.around.left_out, together), self.p_values(scores))

    def p_values(self, scores: F32) -> F32:
        """f32[q] of tiles by themselves: the share of the reference's own that are at least as strange."""
        return _share_above(self.left_out, scores)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays as they are stored, by path."""
        out = {f"{LOOKS}/{name}": getattr(self, name).astype(dtype) for name, dtype in DTYPES.items()}
        return out if self.around is None else out | {AROUND: self.around.left_out.astype("<f4")}

    def attrs(self) -> dict[str, Any]:
        """The attributes of the array of tiles."""
        told = {"left_out": self.by, "middle": list(self.middle), "reach": list(self.reach), "nearest": NEAREST}
        return told | {VIEWS: 1} | ({} if self.around is None else {AROUND_UM: self.around.um})


def part_distances(looks: F32, tiles: F32) -> F64:
    """f64[q, 2]: mean Euclidean distance to the ten nearest of ``tiles`` f32[m, l], in features and in stain."""
    parts = slice(0, looks.shape[1] - STAIN), slice(looks.shape[1] - STAIN, None)
    return np.stack([np.concatenate([*_distances(looks[:, p], tiles[:, p])]) for p in parts], axis=1)


def scored(distances: F64, middle: tuple[float, float], reach: tuple[float, float]) -> F32:
    """f32[q]: the larger of both parts f64[q, 2], in units of the reference's own."""
    return np.asarray(((distances - middle) / np.array(reach)).max(axis=1), np.float32)


def _share_above(left_out: F32, scores: F32) -> F32:
    above = len(left_out) - np.searchsorted(left_out, scores, side="left")
    return np.asarray((1 + above) / (1 + len(left_out)), np.float32)


def _distances(queries: F32, tiles: F32) -> Iterator[F64]:
    k, squares = min(NEAREST, len(tiles)), (tiles**2).sum(axis=1)
    for start in range(0, len(queries), QUERY_BLOCK):
        some = queries[start : start + QUERY_BLOCK]
        found = (some**2).sum(axis=1)[:, None] + squares - 2 * (some @ tiles.T)
        nearest = np.partition(found, k - 1, axis=1)[:, :k]
        yield np.sqrt(np.maximum(nearest.astype(np.float64), 0)).mean(axis=1)


def read_looks(
    root: Group, name: str, read: Callable[[str], NDArray[Any]], spots: int, views: int
) -> Looks | None:
    """The looks of the bundle ``name`` of that many spots, whose embeddings are of so many ``views``.

    None where it holds none of tiles as they are: before format 1.6 they were means over the views.
    ``read`` gives an array by its path. Raises ``ReferenceError`` for arrays that do not fit together.
    """

    def made(values: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any]) -> Looks | None:
        (a, b), (c, d) = attrs["middle"], attrs["reach"]
        middle, reach = (float(a), float(b)), (float(c), float(d))
        around = None
        if AROUND_UM in attrs:
            around = Around(float(attrs[AROUND_UM]), np.asarray(read(AROUND), np.float32))
        found = Looks(**values, middle=middle, reach=reach, by=str(attrs["left_out"]), around=around)
        return found if _fits(found, spots) else None

    found = read_group(root, name, LOOKS, DTYPES, read, made)
    if found is None or views == 1 or root[TILES].attrs.get(VIEWS) == 1:
        return found
    return None


def _fits(found: Looks, spots: int) -> bool:
    if found.tiles.ndim != 2 or found.spot.shape != found.tiles.shape[:1] or found.left_out.ndim != 1:
        return False
    parts = (found.tiles, found.left_out, found.middle, found.reach)
    numbers = all(bool(np.isfinite(part).all()) for part in parts)
    if found.around is not None and not _around_fits(found.around):
        return False
    return (
        found.tiles.shape[1] > STAIN
        and len(found.spot) > 0
        and len(found.left_out) > 0
        and numbers
        and bool((np.diff(found.left_out) >= 0).all())
        and bool((np.diff(found.spot) > 0).all())
        and int(found.spot[0]) >= 0
        and int(found.spot[-1]) < spots
        and min(found.reach) > 0
    )


def _around_fits(found: Around) -> bool:
    scores = found.left_out
    sound = scores.ndim == 1 and len(scores) > 0 and bool(np.isfinite(scores).all())
    return sound and bool((np.diff(scores) >= 0).all()) and 0 < found.um < float("inf")
