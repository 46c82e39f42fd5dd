"""What a study predicts with trained towers is what the runtime predicts with the bundle of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.choices import Aggregation, Key
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_train.methods.bleep import Retrieval


@pytest.mark.parametrize("key", ["expression", "image"])
@pytest.mark.parametrize("how", ["average", "corrected", "projected"])
def test_a_study_predicts_as_the_bundle_does(
    how: Aggregation, key: Key, projected_bundle: Path, query_slide: Path
) -> None:
    bundle = open_bundle(projected_bundle)
    options = PredictOptions(device="cpu", k=9, key=key, aggregation=how)
    predictor, ready = Predictor(bundle, options), plan(query_slide, bundle.info, options)
    with closing(ready.slide):
        queries = predictor.embed(ready.slide, ready.grid)
        through = np.concatenate([block for _, block in predictor.predict_plan(ready).blocks()])
    study: Any = Retrieval.__new__(Retrieval)  # its towers need not be trained again
    study.spots, study.image, study.queries = bundle.embeddings("expression"), bundle.embeddings("image"), queries
    panel = bundle.expression_rows(bundle.panel)[: bundle.n_spots]
    study.data = SimpleNamespace(
        train_y=bundle.expression_rows()[: bundle.n_spots], training=SimpleNamespace(log1p=panel)
    )
    np.testing.assert_allclose(study.predict(9, how, key), through, atol=1e-4)
