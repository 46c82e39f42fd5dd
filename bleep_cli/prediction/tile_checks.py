"""What is said of every tile beside its expression: is it strange to the reference, and do its neighbours agree?

How strange a tile is stands beside how strange the reference's own tiles are to the rest of it, a donor (section,
part) left out at a time: ``ood_p`` is the share of those that are as strange. Tiles are judged with those around
them, since a change of the whole slide may be too small for one of them to show. Of a slide that comes from where
the reference does about 5 % are called strange at the default rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any

import numpy as np

from bleep_cli.base.files.on_disk import array_on_disk
from bleep_cli.base.rows import Rows, row_blocks
from bleep_cli.bundle.index.measured import HELD_BYTES
from bleep_cli.bundle.open import Bundle
from bleep_cli.findings import Finding
from bleep_cli.prediction.provenance import NOT_AVAILABLE
from bleep_cli.search.lists import ListIndex
from bleep_cli.types import F32, I64, Bool, Index, Neighbours, TileGrid

MOST_STRANGE = 0.5  # of the tiles in tissue, above which the slide itself is strange
ROW_BLOCK = 16_384
Columns = Mapping[str, F32 | Bool]


class TileChecks:
    """A reference made ready to judge tiles; ``looks`` is how many the tower that runs tells of each, 0: none.

    ``index`` is the search of the expression embeddings, where those are what is searched.
    """

    def __init__(self, bundle: Bundle, looks: int, rate: float, index: Index | None = None) -> None:
        stored = bundle.looks() if looks else None
        self._looks = stored if stored is not None and stored.tiles.shape[1] == looks else None
        self._vectors = _vectors(bundle, index)
        _, self._donor = np.unique(bundle.spots("donor"), return_inverse=True)
        self._rate = rate

    def of_spots(self, rows: I64) -> TileChecks:
        """The same where only the reference's ``rows`` i64[n], ascending, have a part."""
        out = copy(self)
        out._looks = None if self._looks is None else self._looks.of_spots(rows)
        return out

    def of(self, looks: F32, found: Neighbours, weights: F32) -> dict[str, F32]:
        """f32[m] by name, of tiles of ``looks`` f32[m, l] and ``weights`` f32[m, k] of their neighbours.

        ``neighbour_spread`` is the standard deviation of the neighbours' expression embeddings around their
        weighted mean: 0 where all are alike, towards 1 where they point everywhere.
        """
        near = self._vectors(found.index)
        mean = np.einsum("mk,mkd->md", weights, near)
        told = {
            "neighbour_spread": np.sqrt(np.maximum(1 - (mean**2).sum(axis=1), 0)).astype(np.float32),
            "donors_in_neighbours": _distinct(self._donor[found.index]).astype(np.float32),
        }
        return told if self._looks is None else told | {"ood_score": self._looks.scores(looks)}

    def judged(self, columns: Columns, grid: TileGrid, in_tissue: Bool) -> dict[str, F32 | Bool]:
        """The columns f32[n] of all tiles: behind ``ood_score``, which is then of a tile and of those around it
        that lie in tissue, come ``ood_p`` f32[n] and ``ood`` bool[n]."""
        if self._looks is None:
            return dict(columns)
        own = np.asarray(columns["ood_score"], np.float32)
        score, p = self._looks.judged(own, grid.centre_l0 * grid.mpp, in_tissue)
        return dict(columns) | {"ood_score": score, "ood_p": p, "ood": p <= self._rate}

    def said(self, columns: Columns, in_tissue: Bool) -> dict[str, Any] | str:
        """What a result says of it."""
        if self._looks is None:
            return NOT_AVAILABLE
        return {
            "left_out": self._looks.by,
            "reference_tiles": len(self._looks.spot),
            "rate": self._rate,
            "strange": round(strange_share(columns, in_tissue) or 0.0, 4),
        }


def strange_share(columns: Columns, in_tissue: Bool) -> float | None:
    """Of the tiles in tissue (of all, where none is), the share that ``ood`` calls strange; None where nothing
    says."""
    if "ood" not in columns:
        return None
    judged = np.asarray(columns["ood"], bool)
    return float((judged[in_tissue] if in_tissue.any() else judged).mean())


def told_of_strange(columns: Columns, in_tissue: Bool, slide: str) -> Sequence[Finding]:
    """A finding where most of a slide's tiles are strange."""
    share = strange_share(columns, in_tissue)
    if share is None or share <= MOST_STRANGE:
        return ()
    what = f"{share:.0%} of the tiles look like nothing in the reference: what is predicted there is a guess"
    mend = "see that tissue, stain, focus and scale are those of the reference, or take another reference"
    return (Finding("slide-strange", what, slide, mend),)


def _distinct(codes: I64) -> I64:
    """How many different values each row of i64[m, k] holds."""
    ordered = np.sort(codes, axis=1)
    return np.asarray(1 + (np.diff(ordered, axis=1) != 0).sum(axis=1), np.int64)


def _vectors(bundle: Bundle, index: Index | None) -> Callable[[I64], F32]:
    """The expression embeddings f32[..., d] of spots i64[...]: an index by lists has them at hand."""
    if isinstance(index, ListIndex):
        return index.vectors
    held = _held(bundle.embedding_rows("expression"))
    return lambda rows: np.asarray(held[rows], np.float32)


def _held(rows: Rows) -> F32:
    """f32[n, d], in memory, or in a temporary file where that is a lot."""
    n, d = rows.shape
    if 4 * n * d <= HELD_BYTES:
        return np.asarray(rows[:n], np.float32)
    held = array_on_disk((n, d))
    done = 0
    for block in row_blocks(rows, ROW_BLOCK):
        held[done : done + block.shape[0]] = block
        done += block.shape[0]
    return held
