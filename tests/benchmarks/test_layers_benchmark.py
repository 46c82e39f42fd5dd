"""The benchmark of anatomical layers: its reading, its markers and its score."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
layers = importlib.import_module("layers")


def test_a_file_of_layers(tmp_path: Path) -> None:
    file = tmp_path / "01.tsv"
    file.write_text("\t17_9\t18_9.5\nOuter\t1\t0\nInner\t0\t1\n")
    names, spots, inside = layers.read_layers(file)
    assert names == ["Outer", "Inner"]
    assert spots == [(17.0, 9.0), (18.0, 9.5)]
    assert inside.tolist() == [[True, False], [False, True]]


def test_the_area_is_the_chance_that_a_spot_inside_scores_higher() -> None:
    score = np.array([0.1, 0.4, 0.4, 0.9], np.float32)
    inside = np.array([False, True, False, True])
    assert layers.auc(score, inside) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert layers.auc(-score, inside) == pytest.approx(1 - 3.5 / 4)


def test_markers_are_the_genes_that_are_more_inside() -> None:
    rng = np.random.default_rng(0)
    expression = rng.random((40, 30)).astype(np.float32)
    inside = np.arange(40) < 15
    expression[:15, [3, 7]] += 2
    found = layers.top(expression, inside, ~inside, np.arange(30).astype(str))
    assert len(found) == layers.MARKERS
    assert set(found[:2]) == {"3", "7"}
