"""``bleep demo``: the main job on the built-in synthetic section, scored against its known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, DEMO_TRUTH, asset
from bleep_cli.base.text import counted
from bleep_cli.bundle.open import open_bundle
from bleep_cli.choices import Device
from bleep_cli.outputs.formats import FORMATS, output_path
from bleep_cli.outputs.picture import PICTURE_SUFFIX, write_gene_png
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.report.page import PAGE_SUFFIX, write_report
from bleep_cli.types import F64, Prediction, Progress, Str, no_progress

SHOWN_GENE = "CYP3A4"  # pericentral: its picture shows every central vein
STRIDE_UM = 56.0  # half a tile
MIN_TRUTH_POINTS = 2  # a tile with fewer lies at the very rim


def run_demo(out: Path, device: Device, progress: Progress = no_progress) -> tuple[dict[str, Any], list[str]]:
    """Predicts the built-in slide into ``out`` (replacing an earlier demo); returns a record and lines."""
    prediction = predict_demo(asset(DEMO_BUNDLE), asset(DEMO_SLIDE), device, progress)
    table = output_path(out, prediction.slide_id, "h5ad")
    picture, page = table.with_suffix(PICTURE_SUFFIX), table.with_suffix(PAGE_SUFFIX)
    FORMATS["h5ad"].write(prediction, table, force=True, progress=progress)
    write_gene_png(prediction, SHOWN_GENE, picture, force=True)
    write_report(prediction, page, force=True, progress=progress)
    symbols, r = agreement(prediction, asset(DEMO_TRUTH))
    best = np.argsort(-r, kind="stable")[:5]
    record = {
        "tiles": len(prediction.grid),
        "genes": len(prediction.symbols),
        "informative_genes": len(r),
        "median_r": float(np.median(r)),
        "share_r_at_least_0.8": float((r >= 0.8).mean()),
        "files": [str(table), str(picture), str(page)],
    }
    lines = [
        f"predicted {counted(len(prediction.grid), 'tile')} × {counted(len(prediction.symbols), 'gene')} on a "
        "synthetic section of a donor that the reference has not seen",
        f"table   {table}",
        f"picture {picture}",
        f"page    {page} (open it in a browser)",
        "best genes: " + ", ".join(f"{symbols[i]} {r[i]:.2f}" for i in best),
        f"agreement with the known truth: median r {record['median_r']:.2f} over "
        f"{counted(len(r), 'informative gene')}",
    ]
    return record, lines


def predict_demo(bundle_path: Path, slide: Path, device: Device, progress: Progress = no_progress) -> Prediction:
    """The demo's slide through the pipeline, tiles half overlapping."""
    options = PredictOptions(device=device, stride_um=STRIDE_UM)
    bundle = open_bundle(bundle_path)
    ready = plan(slide, bundle.info, options, signature=bundle.signature())
    try:
        return Predictor(bundle, options).predict_plan(ready, progress)
    finally:
        ready.slide.close()


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
