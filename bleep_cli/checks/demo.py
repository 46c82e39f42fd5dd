"""``bleep demo``: the main job on the built-in synthetic section, scored against its known truth."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, DEMO_TRUTH, asset
from bleep_cli.base.beside import loading
from bleep_cli.base.text import counted
from bleep_cli.bundle.open import open_bundle
from bleep_cli.choices import Device
from bleep_cli.outputs.formats import FORMATS, output_path
from bleep_cli.outputs.picture import DRAWN_WITH, PICTURE_SUFFIX, write_gene_png
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.report.page import PAGE_SUFFIX, write_report
from bleep_cli.types import F64, Prediction, Progress, Str, no_progress

SHOWN_GENE = "CYP3A4"  # pericentral: its picture shows every central vein
STRIDE_UM = 84.0  # three quarters of a tile
MIN_TRUTH_POINTS = 2  # a tile with fewer lies at the very rim


def predict_demo(
    bundle_path: Path | None = None,
    slide: Path | None = None,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> Prediction:
    """The demo's slide through the pipeline, tiles overlapping; other files than the built-in ones if given."""
    options = PredictOptions(device=device, stride_um=STRIDE_UM)
    bundle = open_bundle(bundle_path or asset(DEMO_BUNDLE))
    ready = plan(slide or asset(DEMO_SLIDE), bundle.info, options, signature=bundle.signature())
    try:
        return Predictor(bundle, options).predict_plan(ready, progress)
    finally:
        ready.slide.close()


def score_demo(prediction: Prediction) -> tuple[dict[str, Any], list[str]]:
    """How the prediction agrees with the slide's known truth, as a record and as lines."""
    symbols, r = agreement(prediction, asset(DEMO_TRUTH))
    best = np.argsort(-r, kind="stable")[:5]
    record = {
        "tiles": len(prediction.grid),
        "genes": len(prediction.symbols),
        "informative_genes": len(r),
        "median_r": float(np.median(r)),
        "share_r_at_least_0.8": float((r >= 0.8).mean()),
    }
    lines = [
        f"predicted {counted(len(prediction.grid), 'tile')} × {counted(len(prediction.symbols), 'gene')} on a "
        "synthetic section of a donor that the reference has not seen",
        f"agreement with the known truth: median r {record['median_r']:.2f} over "
        f"{counted(len(r), 'informative gene')}",
        "best genes: " + ", ".join(f"{symbols[i]} {r[i]:.2f}" for i in best),
    ]
    return record, lines


def write_demo(prediction: Prediction, out: Path) -> Iterator[tuple[str, Path]]:
    """Writes table, picture and page into ``out``, replacing an earlier demo; yields what each is, and where, as
    soon as it is written."""
    table = output_path(out, prediction.slide_id, "h5ad")
    picture, page = table.with_suffix(PICTURE_SUFFIX), table.with_suffix(PAGE_SUFFIX)
    with loading(DRAWN_WITH):
        FORMATS["h5ad"].write(prediction, table, force=True)
    yield "table", table
    write_gene_png(prediction, SHOWN_GENE, picture, force=True)
    yield "picture", picture
    write_report(prediction, page, force=True)
    yield "page", page


def agreement(prediction: Prediction, truth_file: Path) -> tuple[Str, F64]:
    """Pearson r over tiles between predicted and true expression, for each gene with a pattern: str[g], f64[g].

    A tile's truth is the mean of the truth grid's points inside it.
    """
    with np.load(truth_file, allow_pickle=False) as truth:
        points = truth["centre_l0"].astype(np.float64)
        log1p, symbols = truth["log1p"].astype(np.float64), truth["symbols"].astype(str)
    half = prediction.grid.edge_l0() / 2
    inside = (np.abs(points[None] - prediction.grid.centre_l0[:, None]) <= half).all(axis=2).astype(np.float64)
    count = inside.sum(axis=1)
    scored = count >= MIN_TRUTH_POINTS
    true = (inside @ log1p)[scored] / count[scored, None]
    slot = {str(s): i for i, s in enumerate(prediction.symbols)}
    kept = np.array([i for i, s in enumerate(symbols) if str(s) in slot], np.int64)
    columns = [slot[str(symbols[i])] for i in kept]
    predicted = np.concatenate([block[:, columns] for _, block in prediction.blocks()])[scored].astype(np.float64)
    return symbols[kept], _pearson(predicted, true[:, kept])


def _pearson(a: F64, b: F64) -> F64:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    norm = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray((a * b).sum(axis=0) / np.where(norm > 0, norm, 1.0), np.float64)
