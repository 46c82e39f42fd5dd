"""Receipts of a result that was written, or of a prediction at hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bleep_cli.bundle.open import Bundle, bundle_of
from bleep_cli.outputs.anonymous import anonymised
from bleep_cli.outputs.read import open_result
from bleep_cli.receipts.receipt import Receipt, receipts
from bleep_cli.types import Prediction


def explain(
    result: Prediction | Path | str,
    ref: Bundle | Path | str,
    tile: str,
    genes: Sequence[str],
    *,
    without_donors: Sequence[str] = (),
    anonymise: bool = False,
) -> list[Receipt]:
    """Where values of one tile come from: the measured spots behind it, and each value computed again from them.

    ``result`` is a prediction, or a file that was written; ``ref`` the bundle that it came from; ``genes`` symbols
    or ids. ``without_donors`` takes the weight from spots of those donors. With ``anonymise`` the tile is called
    by the slide's hash (:mod:`bleep_cli.outputs.anonymous`). Raises ``UsageError`` for a tile, gene or donor that
    is not there, ``ReferenceError`` for another bundle, ``OutputError`` for a damaged result.
    """
    found = result if isinstance(result, Prediction) else open_result(result)
    if anonymise:
        found, named = anonymised(found), found
        (rows,) = np.nonzero(named.grid.tile_id == tile)
        tile = str(found.grid.tile_id[rows[0]]) if len(rows) else tile
    return receipts(found, bundle_of(ref), tile, genes, without_donors)
