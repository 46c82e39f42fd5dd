"""Bundles of every format version ever shipped stay readable, and answer as they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_cli.bundle import open_bundle
from bleep_cli.bundle_verify import verify
from bleep_cli.predict import PredictOptions, Predictor, plan

GOLDEN = Path(__file__).parent / "golden"
CONTENT = {
    "bundle-1.0.zarr.zip": "6a36170a517b45457290b6242de6c27cdb2f2b661a25078d26f5d00a74e0ea74",
}


@pytest.mark.parametrize("name", sorted(CONTENT))
def test_golden_bundle_opens_verifies_and_answers(name: str, query_slide: Path) -> None:
    bundle = open_bundle(GOLDEN / name)
    assert bundle.content_sha256 == CONTENT[name]
    assert [check.name for check in verify(bundle) if not check.ok] == []
    ready = plan(query_slide, bundle.info, PredictOptions())
    try:
        prediction = Predictor(bundle, PredictOptions(k=5, views=1)).predict(ready)
    finally:
        ready.slide.close()
    expected = np.load(GOLDEN / name.replace(".zarr.zip", ".npy"), allow_pickle=False)
    np.testing.assert_allclose(np.concatenate([b for _, b in prediction.blocks()]), expected, atol=1e-4)


def test_every_golden_file_is_tested() -> None:
    assert {path.name for path in GOLDEN.glob("*.zarr.zip")} == set(CONTENT)
