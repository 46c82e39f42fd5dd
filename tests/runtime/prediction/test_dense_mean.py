"""Means of neighbours in parts of genes or of tiles, beside one product over all of both."""

import numpy as np
import pytest

from bleep_cli.prediction.expression import dense
from bleep_cli.prediction.expression.dense import mean_of_rows
from bleep_cli.prediction.expression.impute import mixture

RNG = np.random.default_rng(7)
ROWS = (RNG.poisson(0.4, (40, 300)) / 7).astype(np.float32)
INDEX = np.stack([RNG.permutation(40)[:9] for _ in range(61)])
WEIGHTS = RNG.random(INDEX.shape, np.float32)
WHOLE = mixture(WEIGHTS, INDEX, len(ROWS)) @ ROWS


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("genes", [1, 7, 128, 300, 1000])
def test_parts_of_genes_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch, genes: int, cores: int) -> None:
    monkeypatch.setattr(dense, "usable_cores", lambda: cores)
    monkeypatch.setattr(dense, "FEWEST_GENES", 1)
    monkeypatch.setattr(dense, "CACHED_BYTES", 4 * 40 * genes)
    np.testing.assert_array_equal(mean_of_rows(WEIGHTS, INDEX, ROWS), WHOLE)


@pytest.mark.parametrize("cores", [1, 3])
@pytest.mark.parametrize("tiles", [1, 7, 61, 100])
def test_parts_of_tiles_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch, tiles: int, cores: int) -> None:
    monkeypatch.setattr(dense, "usable_cores", lambda: cores)
    monkeypatch.setattr(dense, "CACHED_BYTES", 0)
    monkeypatch.setattr(dense, "TILES", tiles)
    np.testing.assert_array_equal(mean_of_rows(WEIGHTS, INDEX, ROWS), WHOLE)


@pytest.mark.parametrize(("tiles", "genes"), [(0, 300), (61, 0), (0, 0)])
def test_nothing_is_of_the_right_shape(tiles: int, genes: int) -> None:
    found = mean_of_rows(WEIGHTS[:tiles], INDEX[:tiles], ROWS[:, :genes])
    assert found.shape == (tiles, genes) and found.dtype == np.float32
