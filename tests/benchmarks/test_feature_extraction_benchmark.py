"""The tower that ``benchmarks/feature_extraction.py`` hands to both sides."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.embedding.embedder import open_embedder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")  # what LazySlide takes
def test_both_sides_get_the_same_tower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    torch = pytest.importorskip("torch")
    script, ref = import_module("feature_extraction").write_backbone(tmp_path, "efficientnet-lite0", "random")
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    ours = open_embedder(open_bundle(ref), "cpu", "fp32").encoder.embed(tiles)
    with torch.no_grad():
        theirs = torch.jit.load(str(script))(torch.from_numpy(tiles)).numpy()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
