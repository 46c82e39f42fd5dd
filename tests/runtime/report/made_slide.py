"""A made-up prediction whose every name would break out of a page that does not escape it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.types import F32, Neighbours, Prediction, TileGrid, TileSpec

HOSTILE = '</script><script>window.broken = 1</script><img src=x onerror="window.broken = 1">\'&amp; $slide ${x}'
GENES = ("LEFT", "DOWN", HOSTILE, "FLAT", "__proto__", "ERBB2")
FINDING = Finding("slide-coarse", f"1.0 µm per pixel {HOSTILE}", "s<b>.svs", "scan it anew")
PX, SCALEF = 100.0, 0.25  # edge of a tile, and pixels of the overview, for a level-0 pixel


def make_slide(rows: int = 20, columns: int = 30, genes: tuple[str, ...] = GENES, **changes: Any) -> Prediction:
    """Tiles without gaps on a slide with a rim of two tiles; the overview is pink.

    LEFT grows with the column, DOWN with the row; FLAT is 2 everywhere; the others are noise. The left half is
    piece "a", the right half is piece "b<b>".
    """
    rng = np.random.default_rng(3)
    n = rows * columns
    row, column = np.divmod(np.arange(n), columns)
    expression = rng.random((n, len(genes)), np.float32) * 0.1
    for name, values in (
        ("LEFT", column / max(1, columns - 1) * 6),
        ("DOWN", row / max(1, rows - 1) * 3),
        ("FLAT", 2 + 0 * row),
    ):
        if name in genes:
            expression[:, genes.index(name)] = values
    similarity = (0.5 + 0.5 * row / rows).astype(np.float32)
    similarity[7:8] = np.nan
    ink = np.where(column == columns - 1, 0.5, 0).astype(np.float32)
    fields: dict[str, Any] = {
        "slide_id": f"slide {HOSTILE}",
        "grid": TileGrid(
            centre_l0=np.stack([(column + 2.5) * PX, (row + 2.5) * PX], axis=1),
            array_row=row,
            array_col=column,
            tile_id=np.array([f"{r}x{c}</script>" for r, c in zip(row, column, strict=True)]),
            region=np.where(column < columns // 2, "a", "b<b>"),
            spec=TileSpec(px=224, um=(50.0, 200.0)),
            mpp=0.5,
            pitch_um=50.0,
        ),
        "in_tissue": np.arange(n) != 3,
        "symbols": np.array(genes),
        "gene_ids": np.array([f"ENSG{i:011d}" for i in range(len(genes))]),
        "neighbours": Neighbours(np.zeros((n, 7), np.int64), np.zeros((n, 7), np.float32)),
        "obs": {"similarity": similarity, "out_of_focus<b>": column == 0, "under_ink": ink},
        "blocks": lambda: _blocks(expression),
        "hires": np.full(
            (int((rows + 4) * PX * SCALEF), int((columns + 4) * PX * SCALEF), 3), (240, 200, 220), np.uint8
        ),
        "hires_scalef": SCALEF,
        "provenance": {
            "bleep_version": "0.1.0",
            "expression_units": "log1p of counts per 10,000",
            "intended_use": f"Tests only {HOSTILE}",
            "slide": {
                "name": f"{HOSTILE}.svs",
                "sha256": "ab" * 32,
                "mpp": 0.5,
                "mpp_source": "given",
                "width_px": 3400,
                "height_px": 2400,
            },
            "reference": {
                "name": f"{HOSTILE}.zarr",
                "content_sha256": "cd" * 32,
                "sections": ["A1", HOSTILE],
                "spots": 1310,
                "donors": 2,
                "species": "Homo sapiens, breast",
            },
            "options": {"k": 7, "aggregation": "average", "views": 8, "precision": "fp32", "key": "expression"},
            "findings": [FINDING.plain()],
            HOSTILE: HOSTILE,
        },
        "findings": (FINDING,),
        "var": {
            "reference_p01": np.zeros(len(genes), np.float32),
            "reference_p99": np.full(len(genes), 12, np.float32),
        },
    }
    return Prediction(**{**fields, **changes})


def _blocks(expression: F32) -> Iterator[tuple[int, F32]]:
    for first in range(0, len(expression), 1000):
        yield first, expression[first : first + 1000]
