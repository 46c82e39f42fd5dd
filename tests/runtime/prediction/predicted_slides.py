"""Predictions of one slide, and a reference before and after it has grown, as several tests look at them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.grow import grow_reference
from bleep_cli.types import F32, Prediction, Section

K = 7


def predicted(bundle: Bundle, slide: Path, **options: Any) -> Prediction:
    chosen = PredictOptions(device="cpu", k=K, views=1, **options)
    ready = plan(slide, bundle.info, chosen)
    with closing(ready.slide):
        return Predictor(bundle, chosen).predict_plan(ready)


def values(prediction: Prediction) -> F32:
    return np.concatenate([block for _, block in prediction.blocks()])


def base_grown_whole(
    sections: list[Section], make_encoders: Callable[..., Encoders], folder: Path, aggregation: str
) -> tuple[Bundle, Bundle, Bundle]:
    """Bundles of the first two sections, of these grown by the others, and of all of them at once."""
    encoders = make_encoders(aggregation=aggregation)
    bundles = []
    for name, built in (
        ("base", build_reference(sections[:2], encoders, device="cpu")),
        ("whole", build_reference(sections, encoders, device="cpu")),
    ):
        write_bundle(folder / f"{name}.zarr", built.info, built.arrays)
        bundles.append(open_bundle(folder / f"{name}.zarr"))
    grown = grow_reference(bundles[0], sections[2:], device="cpu")
    write_bundle(folder / "grown.zarr", grown.info, grown.arrays)
    return bundles[0], open_bundle(folder / "grown.zarr"), bundles[1]
