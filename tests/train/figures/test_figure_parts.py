"""What the paper's figures are computed from: the order of genes, matched clusters, the joint UMAP, words."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_cli.plotting.style import colour_limits
from bleep_train.figures.clusters import by_size, matched
from bleep_train.figures.gene_gene import hierarchical_order
from bleep_train.figures.moments import log_ticks
from bleep_train.figures.style import signed, title_of
from bleep_train.figures.umap import joint_embedding


def test_genes_of_one_programme_stand_together() -> None:
    programme = np.array([0, 1, 0, 1, 0, 1, 1, 0])
    correlation = np.where(programme[:, None] == programme, 0.8, -0.3)
    np.fill_diagonal(correlation, 1.0)
    ordered = programme[hierarchical_order(correlation)]
    assert (np.diff(ordered) != 0).sum() == 1


@pytest.mark.parametrize(
    ("predicted", "expected"),
    [
        ([7, 7, 7, 7, 2, 2, 2, 5, 5], [0, 0, 0, 0, 1, 1, 1, 2, 2]),  # other numbers, the same clusters
        ([0, 0, 1, 1, 2, 2, 2, 3, 3], [0, 0, 3, 3, 1, 1, 1, 2, 2]),  # one more: it has no partner
        ([4] * 9, [0] * 9),  # all in one: the largest
        ([1, 1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 2, 2]),  # two in one: the larger of them
    ],
)
def test_clusters_are_matched_by_overlap(predicted: list[int], expected: list[int]) -> None:
    measured = np.array([3, 3, 3, 3, 1, 1, 1, 0, 0])
    assert by_size(measured).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2]
    assert matched(measured, np.array(predicted)).tolist() == expected


@pytest.mark.slow
def test_predictions_are_placed_among_the_reference() -> None:
    reference = np.random.default_rng(1).normal(2, 1, (80, 12)).astype(np.float32)
    far = reference[:20] + np.float32(30)
    placed = {"same": reference[:20], "far": far, "constant": np.repeat(far[:1], 9, 0)}
    background, among = joint_embedding(reference, placed)
    assert len(background) == 80
    assert {name: xy.shape for name, xy in among.items()} == {"same": (20, 2), "far": (20, 2), "constant": (9, 2)}
    distance = {
        name: np.linalg.norm(background[:, None] - xy[None], axis=2).min(axis=0).max()
        for name, xy in among.items()
    }
    assert distance["far"] > 5 * distance["same"]
    assert len(np.unique(among["constant"], axis=0)) == 1
    again, _ = joint_embedding(reference, placed)
    assert (again == background).all()


def test_methods_and_numbers_read_well() -> None:
    titles = {"bleep": "BLEEP", "bleep:clip": "BLEEP (clip)", "knn": "kNN", "other": "other"}
    assert {name: title_of(name) for name in titles} == titles
    assert [signed(value) for value in (0.123, -0.5, -0.0001, np.nan)] == ["0.12", "−0.50", "0.00", "–"]
    assert colour_limits(np.full(5, 2.0)) == (1.5, 2.5)
    assert colour_limits(np.full(5, np.nan)) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((0.004, 30.0), [0.01, 0.1, 1, 10]),
        ((0.15, 6.0), [0.2, 0.5, 1, 2, 5]),
        ((2.6, 4.5), [3, 4]),
        ((3.1, 3.9), [3.1, 3.9]),
    ],
)
def test_log_axes_have_few_plain_ticks(edges: tuple[float, float], expected: list[float]) -> None:
    assert log_ticks(edges) == pytest.approx(expected)
