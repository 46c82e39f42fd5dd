"""What the page's JavaScript reads: a head in JSON, and one stream of numbers and names behind it."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bleep_cli.outputs.blocks import columns_of, gene_columns, most_varying
from bleep_cli.plotting.style import EXPRESSION
from bleep_cli.prediction.measured import QUANTILES
from bleep_cli.report.pack import Codes, quantised
from bleep_cli.types import F32, I64, Bool, Prediction

MOST_VALUES = 4_000_000
"""Values of genes that a page holds unless it is told which: 200 genes of 20,000 tiles."""
MOST_GENES = 200
_FEWEST_GENES = 20
PALETTES = (EXPRESSION, "cividis", "inferno")
"""Colour maps that can be chosen; all even in lightness, and told apart by the colour-blind."""
LAYERS = {
    "similarity": ("Similarity to the reference", "low"),
    "ood_score": ("Strange to the reference", "high"),
    "ood_p": ("Own tiles as strange (share)", "low"),
    "ood": ("Strange tile", "high"),
    "neighbour_spread": ("Spread of the neighbours", "high"),
    "donors_in_neighbours": ("Donors among the neighbours", "low"),
    "on_glass": ("Share on glass", "high"),
    "under_ink": ("Share under pen ink", "high"),
}
"""Columns of ``Prediction.obs`` in words, and which values speak against a tile; others go by their names."""


@dataclass(frozen=True)
class Payload:
    """What a page holds of a prediction."""

    head: dict[str, Any]
    """JSON-able."""
    stream: bytes
    """Deflated: x and y f32[n] in px of the overview, the piece u16[n], the codes u8[genes + layers, n] and the
    tiles' names, JSON in UTF-8."""

    def embedded_head(self) -> str:
        """The head as JSON that cannot end the element it stands in."""
        return safe_json(self.head)

    def embedded_stream(self) -> str:
        """The stream in base64."""
        return base64.b64encode(self.stream).decode("ascii")


def payload(prediction: Prediction, genes: Sequence[str] | None = None) -> Payload:
    """The most varying genes, or ``genes`` (symbols or ids), their most varying first.

    ``UsageError`` for genes that are not predicted.
    """
    columns = _chosen(prediction, genes)
    values = columns_of(prediction, columns)
    spread = values.std(axis=1, dtype=np.float64)
    order = np.argsort(-np.nan_to_num(spread), kind="stable")
    packed = [quantised(values[place]) for place in order]
    layers = {name: quantised(column) for name, column in prediction.obs.items()}
    pieces, piece = np.unique(prediction.grid.region, return_inverse=True)
    head = {
        "tiles": len(prediction.grid),
        "size": prediction.hires.shape[1::-1],
        "umPerPx": prediction.grid.mpp / prediction.hires_scalef,
        "edge": prediction.grid.drawn_edge_l0() * prediction.hires_scalef,
        "unit": prediction.provenance.get("expression_units", "log1p"),
        "predicted": len(prediction.symbols),
        "genes": [
            _gene(prediction, int(columns[place]), codes, float(spread[place]))
            for place, codes in zip(order, packed, strict=True)
        ],
        "layers": [_layer(name, prediction.obs[name], codes) for name, codes in layers.items()],
        "pieces": [str(name) for name in pieces],
        "palettes": {name: palette_digits(name) for name in PALETTES},
    }
    x, y = (prediction.grid.centre_l0 * prediction.hires_scalef).astype("<f4").T
    parts = [x, y, piece.astype("<u2"), *(codes.codes for codes in (*packed, *layers.values()))]
    names = json.dumps(prediction.grid.tile_id.tolist()).encode()
    return Payload(head, zlib.compress(b"".join([*(part.tobytes() for part in parts), names]), 9))


def safe_json(value: Any) -> str:
    """JSON that can stand in an HTML ``script``: ASCII alone, and none of the signs that end or open elements."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chosen(prediction: Prediction, genes: Sequence[str] | None) -> I64:
    if genes is not None:
        return np.unique(gene_columns(prediction, genes, "genes"))
    most = max(_FEWEST_GENES, min(MOST_GENES, MOST_VALUES // len(prediction.grid)))
    return most_varying(prediction, most)


def _gene(prediction: Prediction, column: int, codes: Codes, spread: float) -> dict[str, Any]:
    said = {"name": str(prediction.symbols[column]), "id": str(prediction.gene_ids[column])}
    numbers = {"low": codes.low, "high": codes.high, "spread": spread if np.isfinite(spread) else 0.0}
    measured = [float(prediction.var[name][column]) for name in QUANTILES if name in prediction.var]
    return {**said, **numbers, "measured": measured if len(measured) == 2 and measured[0] < measured[1] else None}


def _layer(name: str, values: F32 | Bool, codes: Codes) -> dict[str, Any]:
    label, worse = LAYERS.get(name, (name.replace("_", " "), "low"))
    kind = {"yesNo": values.dtype == np.bool_, "whole": are_whole(values)}
    return {"name": name, "label": label, "low": codes.low, "high": codes.high, "worse": worse, **kind}


def are_whole(values: F32 | Bool) -> bool:
    """Whether f32 or bool [n] are counts, to be shown without decimals: whole numbers, and one of them above 1."""
    known = np.asarray(values, np.float64)[np.isfinite(values)]
    return bool(len(known)) and bool((known == np.round(known)).all()) and float(known.max()) > 1


def palette_digits(name: str) -> str:
    """256 colours, six hexadecimal digits each."""
    import matplotlib

    rgb = (matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return rgb.tobytes().hex()
