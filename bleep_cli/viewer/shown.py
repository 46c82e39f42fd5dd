"""What the viewer shows of a result, as JSON-able values and bytes: genes, tiles, what stands behind a tile."""

from __future__ import annotations

import base64
from functools import cached_property
from typing import Any

import numpy as np

from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import plain_words
from bleep_cli.outputs.blocks import columns_of, row_values, spread
from bleep_cli.plotting.gene import FOOTER
from bleep_cli.plotting.style import colour_limits
from bleep_cli.prediction.measured import QUANTILES
from bleep_cli.receipts.receipt import receipts
from bleep_cli.report.payload import LAYERS, PALETTES, are_whole, palette_digits
from bleep_cli.types import F32, F64, I64, Bool, Prediction, Slide
from bleep_cli.viewer.kept import Kept
from bleep_cli.viewer.pyramid import PIECE_PX, Pyramid
from bleep_cli.viewer.spot_pictures import SpotPictures

KEPT_BYTES = 64 << 20
MOST_TOP = 6


class Shown:
    """A result, its slide and, where there are any, its reference and pictures of its spots."""

    def __init__(
        self, prediction: Prediction, slide: Slide, bundle: Bundle | None, pictures: SpotPictures | None
    ) -> None:
        self.pyramid, self.pictures = Pyramid(slide), pictures
        self._prediction, self._slide, self._bundle = prediction, slide, bundle
        self._kept = Kept(KEPT_BYTES)

    @cached_property
    def _spread(self) -> tuple[F64, F64]:
        return spread(self._prediction)

    def head(self) -> dict[str, Any]:
        """What the page has to know before it can show anything; genes that vary most come first."""
        found, grid = self._prediction, self._prediction.grid
        order: I64 = np.argsort(-self._spread[1], kind="stable")
        width, height = self._slide.size_l0
        return {
            "slide": found.slide_id,
            "width": width,
            "height": height,
            "piecePx": PIECE_PX,
            "lastLevel": self.pyramid.last_level,
            "umPerPx": grid.mpp,
            "edge": grid.drawn_edge_l0(),
            "unit": str(found.provenance.get("expression_units", "log1p")),
            "genes": [
                {"name": str(found.symbols[i]), "id": str(found.gene_ids[i]), "column": int(i)} for i in order
            ],
            "tiles": [str(name) for name in grid.tile_id],
            "palettes": {name: palette_digits(name) for name in PALETTES},
            "reference": str(found.provenance["reference"]["name"]),
            "k": found.neighbours.index.shape[1],
            "receipts": self._bundle is not None,
            "pictures": self.pictures is not None,
            "warnings": [plain_words(f.text) for f in found.findings if f.severity == "warning"],
            "footer": FOOTER,
        }

    def places(self) -> bytes:
        """x and y f32[n] of the tiles' centres in level-0 px, little-endian."""
        return np.ascontiguousarray(self._prediction.grid.centre_l0.T, "<f4").tobytes()

    def gene(self, column: int) -> bytes:
        """f32, little-endian: what colours span on this slide and what was measured (two numbers each, NaN where
        it is not known), then the n values. ``LookupError`` where there is no such gene."""
        self._check(column, len(self._prediction.symbols), "gene")
        return self._kept.get(column, lambda: self._gene(column))

    def _gene(self, column: int) -> bytes:
        (values,) = columns_of(self._prediction, np.array([column]))
        var = self._prediction.var
        measured = [float(var[name][column]) if name in var else np.nan for name in QUANTILES]
        return np.concatenate([colour_limits(values), measured, values]).astype("<f4").tobytes()

    def tile(self, row: int) -> dict[str, Any]:
        """A tile: its place, layers, and the genes that stand out most from the other tiles.

        ``LookupError`` where there is no such tile.
        """
        found = self._prediction
        self._check(row, len(found.grid), "tile")
        values = row_values(found, row)
        mean, deviation = self._spread
        share: F64 = np.divide(values - mean, deviation, out=np.zeros_like(mean), where=deviation > 1e-6)
        top = np.argsort(-share, kind="stable")[:MOST_TOP]
        x, y = found.grid.centre_l0[row] * found.grid.mpp
        return {
            "name": str(found.grid.tile_id[row]),
            "piece": str(found.grid.region[row]),
            "x_um": float(x),
            "y_um": float(y),
            "layers": [_layer(name, column, row) for name, column in found.obs.items()],
            "top": [self._stands_out(int(i), values, share) for i in top if share[i] > 0],
        }

    def _stands_out(self, column: int, values: F32, share: F64) -> dict[str, Any]:
        name = str(self._prediction.symbols[column])
        return {"name": name, "column": column, "value": float(values[column]), "deviations": float(share[column])}

    def receipt(self, row: int, column: int) -> dict[str, Any]:
        """The measured spots behind one value. ``LookupError`` where there is no such tile or gene, or no
        reference at hand."""
        found = self._prediction
        self._check(row, len(found.grid), "tile")
        self._check(column, len(found.symbols), "gene")
        if self._bundle is None:
            raise LookupError("no reference")
        tile, gene = str(found.grid.tile_id[row]), str(found.gene_ids[column])
        (receipt,) = receipts(found, self._bundle, tile, [gene])
        return receipt.plain()

    def picture(self, row: int) -> dict[str, str]:
        """``picture``, the tile around a spot of the reference as a data address, or ``why`` there is none."""
        if self.pictures is None:
            raise LookupError("no pictures")
        jpeg, why = self.pictures.jpeg(row)
        return {"why": why} if why else {"picture": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"}

    @staticmethod
    def _check(place: int, count: int, what: str) -> None:
        if not 0 <= place < count:
            raise LookupError(f"no {what} {place}")


def _layer(name: str, column: F32 | Bool, place: int) -> dict[str, Any]:
    value = column[place]
    label = LAYERS.get(name, (name.replace("_", " "),))[0]
    if isinstance(value, np.bool_):
        return {"label": label, "value": "yes" if value else "no"}
    if not np.isfinite(value):
        return {"label": label, "value": "no value"}
    return {"label": label, "value": f"{float(value):,.0f}" if are_whole(column) else f"{float(value):.3f}"}
