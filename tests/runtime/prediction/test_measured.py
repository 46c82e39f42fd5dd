"""The range that was measured of each gene: its quantiles over the reference's spots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.prediction.measured import QUANTILES, SPOTS, measured_range


def test_a_small_reference_is_looked_at_whole() -> None:
    expression = np.random.default_rng(0).random((1500, 7), np.float32)
    found = measured_range(expression)
    assert list(found) == list(QUANTILES) == ["reference_p01", "reference_p99"]
    for name, share in (("reference_p01", 0.01), ("reference_p99", 0.99)):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], np.quantile(expression, share, axis=0, method="nearest"))


def test_of_a_large_one_spots_all_over_it() -> None:
    """What grows along the reference has the quantiles of the whole, not those of its beginning."""
    n, genes = 50_000, 3
    expression = (np.arange(n, dtype=np.float32)[:, None] * np.array([1, 2, -1], np.float32)) / n
    found = measured_range(expression)
    np.testing.assert_allclose(found["reference_p99"], [0.99, 1.98, -0.01], atol=2 / SPOTS)
    np.testing.assert_allclose(found["reference_p01"], [0.01, 0.02, -0.99], atol=2 / SPOTS)
    assert found["reference_p01"].shape == (genes,)


@pytest.mark.parametrize("columns", [None, [4, 0, 9]])
def test_expression_on_disk_gives_what_it_gives_in_memory(small_bundle: Path, columns: list[int] | None) -> None:
    bundle = open_bundle(small_bundle)
    wanted = None if columns is None else np.array(columns)
    stored = bundle.expression_rows(wanted)
    assert stored.shape[0] <= SPOTS
    there, here = measured_range(stored), measured_range(stored[: stored.shape[0]])
    assert there.keys() == here.keys()
    for name, values in here.items():
        np.testing.assert_array_equal(there[name], values)
    assert here["reference_p99"].max() > 0
