"""Made-up results on disk: tiles of a slide in two halves, a gene of which a group has more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.types import F32, Neighbours, Prediction, TileGrid, TileSpec

SYMBOLS = ("UP", "SAME", "LEFT", "NOISE")
ROWS, COLUMNS, STEP = 4, 6, 200
SIZE_L0 = (COLUMNS * STEP, ROWS * STEP)
"""Of the tiles together, in level-0 px."""
DOUBTFUL = Finding("mpp-doubtful", "the tissue looks like half the stated scale")


def write_result(
    folder: Path,
    name: str,
    up: float,
    *,
    symbols: Sequence[str] = SYMBOLS,
    findings: Sequence[Finding] = (),
    reference: str = "r.zarr",
    slide: Mapping[str, Any] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> Path:
    """``name.h5ad``: UP is ``up`` everywhere, SAME is 2, LEFT is 3 in the left half and 1 in the right.

    The tiles fill the slide, or begin at ``corner`` of another, of which ``slide`` tells size and bounds.
    """
    path = folder / f"{name}.h5ad"
    told = dict(slide or {"width_px": SIZE_L0[0], "height_px": SIZE_L0[1], "bounds_l0": [0, 0, *SIZE_L0]})
    write_h5ad(_prediction(name, up, symbols, findings, reference, told, corner), path)
    return path


def _prediction(
    name: str,
    up: float,
    symbols: Sequence[str],
    findings: Sequence[Finding],
    reference: str,
    slide: dict[str, Any],
    corner: tuple[int, int],
) -> Prediction:
    n = ROWS * COLUMNS
    row, column = np.divmod(np.arange(n), COLUMNS)
    noise = np.random.default_rng(len(name)).random(n)
    values = {
        "UP": np.full(n, up),
        "SAME": np.full(n, 2.0),
        "LEFT": np.where(column < 3, 3.0, 1.0),
        "NOISE": noise,
    }
    expression: F32 = np.stack([values[symbol] for symbol in symbols], axis=1).astype(np.float32)
    grid = TileGrid(
        centre_l0=np.stack([column * STEP + 100.0, row * STEP + 100.0], axis=1) + corner,
        array_row=row,
        array_col=column,
        tile_id=np.array([f"{name}_{r}x{c}" for r, c in zip(row, column, strict=True)]),
        region=np.full(n, "1"),
        spec=TileSpec(px=224, um=(100.0,)),
        mpp=0.5,
        pitch_um=100.0,
    )
    said = {
        "slide": {"name": f"{name}.svs", **slide},
        "reference": {"name": reference, "content_sha256": f"hash of {reference}"},
        "options": {"k": 5, "aggregation": "average", "key": "expression", "views": 1},
        "expression_units": "log1p(counts per 10,000)",
        "findings": [finding.plain() for finding in findings],
    }
    return Prediction(
        slide_id=name,
        grid=grid,
        in_tissue=np.ones(n, bool),
        symbols=np.array(symbols),
        gene_ids=np.array([f"ENSG-{symbol}" for symbol in symbols]),
        neighbours=Neighbours(np.zeros((n, 1), np.int64), np.ones((n, 1), np.float32)),
        obs={},
        blocks=lambda: iter([(0, expression[:10]), (10, expression[10:])]),
        hires=np.full((20, 30, 3), 255, np.uint8),
        hires_scalef=0.025,
        provenance=said,
        findings=tuple(findings),
    )


def write_halves(folder: Path, name: str, corner: tuple[int, int] = (0, 0), scale: float = 1) -> Path:
    """``name.geojson``: the left half of the tiles is Tumor, the right half Stroma.

    In level-0 px, or counted from elsewhere: ``corner`` is where the tiles begin; ``scale`` px for one of level 0.
    """
    path = folder / f"{name}.geojson"
    half = SIZE_L0[0] / 2
    features = [
        {
            "type": "Feature",
            "properties": {"classification": {"name": label}},
            "geometry": {"type": "Polygon", "coordinates": [((np.array(ring) + corner) * scale).tolist()]},
        }
        for label, x in (("Tumor", 0.0), ("Stroma", half))
        for ring in ([[x, 0], [x + half, 0], [x + half, SIZE_L0[1]], [x, SIZE_L0[1]]],)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path
