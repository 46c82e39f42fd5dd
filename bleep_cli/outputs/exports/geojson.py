"""A prediction as GeoJSON that QuPath imports as tiles with measurements.

QuPath's plane is that of the scanned part: where a slide has bounds (MRXS, SCN, ...), it opens the slide at their
corner, so that corner is subtracted here. On every other slide these are level-0 pixels.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.exports.chosen import chosen_genes, genes_told
from bleep_cli.types import Prediction, Progress, no_progress

DIGITS = 5  # of a measurement: predictions are means of values stored to three or four


def write_geojson(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes a FeatureCollection, a square per tile: ``objectType`` "tile", a ``measurements`` map of genes and
    ``Prediction.obs``, and the same UUID whenever the same slide is predicted.

    The member ``bleep`` of the collection says which slide and reference, how many of how many genes, and which
    level-0 pixel (x, y) is ``origin``, the (0, 0) of the file.
    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    genes = chosen_genes(prediction)
    names = [str(symbol) for symbol in prediction.symbols[genes]]
    with atomic_path(path, force) as temp, temp.open("w", encoding="utf-8") as file:
        head = json.dumps({"bleep": _head(prediction, len(genes))}, ensure_ascii=False)
        file.write(f'{{"type": "FeatureCollection", {head[1:-1]}, "features": [')
        for first, block in checked_blocks(prediction):
            for row, values in enumerate(block[:, genes], first):
                measured = dict(zip(names, map(_number, values.tolist()), strict=True))
                feature = json.dumps(_feature(prediction, row, measured), ensure_ascii=False)
                file.write(f"{',' if row else ''}\n{feature}")
            progress("write", first + len(block), len(prediction.grid))
        file.write("\n]}\n")


def _head(prediction: Prediction, genes: int) -> dict[str, Any]:
    provenance = prediction.provenance
    return {
        "slide": prediction.slide_id,
        "origin": list(_corner(prediction)),
        "reference": provenance.get("reference", {}),
        "expression_units": provenance.get("expression_units", ""),
        "intended_use": provenance.get("intended_use", ""),
        "genes": genes_told(prediction, genes),
    }


def _feature(prediction: Prediction, row: int, measured: Mapping[str, float]) -> dict[str, Any]:
    grid = prediction.grid
    slide = prediction.provenance.get("slide", {})
    (x, y), half = grid.centre_l0[row] - _corner(prediction), grid.pitch_um / grid.mpp / 2
    corners = [(x - half, y - half), (x + half, y - half), (x + half, y + half), (x - half, y + half)]
    ring = [[round(float(a), 2), round(float(b), 2)] for a, b in (*corners, corners[0])]
    name = str(grid.tile_id[row])
    known = {column: _number(values[row].item()) for column, values in prediction.obs.items()}
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{slide.get('sha256', '')} {name}")),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "tile", "name": name, "measurements": known | dict(measured)},
    }


def _corner(prediction: Prediction) -> tuple[int, int]:
    """(x, y) in level-0 px of what (0, 0) is in the file."""
    x, y = prediction.provenance.get("slide", {}).get("bounds_l0", (0, 0))[:2]
    return int(x), int(y)


def _number(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
