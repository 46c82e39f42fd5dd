"""Clusters are those that were planted; agreement is what the definitions of NMI and ARI give by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bleep_train.metrics.clusters import cluster_agreement, leiden


def planted(sizes: tuple[int, ...], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Expression f32[n, 30] of groups far apart, in mixed order, and the group of each spot."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = rng.normal(size=(len(sizes), 30)) * 4
    return (centres[group] + rng.normal(size=(len(group), 30))).astype(np.float32), group


@pytest.mark.slow
def test_leiden_finds_planted_groups_largest_first_and_again() -> None:
    expression, group = planted((60, 20, 40))
    labels = leiden(expression)
    assert cluster_agreement(group, labels) == {"nmi": 1, "ari": 1, "measured": 3, "predicted": 3}
    assert np.bincount(labels).tolist() == [60, 40, 20]
    assert leiden(expression).tolist() == labels.tolist()


@pytest.mark.slow
def test_genes_that_are_missing_or_constant_do_not_matter() -> None:
    expression, _ = planted((30, 30))
    more = np.insert(expression, [3, 8], [np.nan, 2.5], axis=1)
    assert leiden(more).tolist() == leiden(expression).tolist()


@pytest.mark.parametrize("shape", [(40, 9), (3, 9), (40, 0)])
def test_what_does_not_vary_is_one_cluster(shape: tuple[int, int]) -> None:
    assert leiden(np.full(shape, 1.5, np.float32)).tolist() == [0] * shape[0]


@pytest.mark.slow
def test_a_section_of_180_spots_parts_into_several_clusters() -> None:
    """Noise with a weak gradient, as small sections are."""
    rng = np.random.default_rng(1)
    expression = rng.normal(size=(180, 50)) + np.linspace(-1, 1, 180)[:, None] * rng.normal(size=50)
    assert leiden(expression.astype(np.float32)).max() > 0


def test_agreement_by_hand() -> None:
    measured, predicted = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    found = cluster_agreement(measured, predicted)
    # mutual information ln 2; entropies ln 2 and 1.5 ln 2; NMI divides by their mean
    assert found["nmi"] == pytest.approx(math.log(2) / (1.25 * math.log(2)))
    # one pair together in both, two and one in each; six pairs, so 1/3 by chance
    assert found["ari"] == pytest.approx((1 - 1 / 3) / (1.5 - 1 / 3))
    assert (found["measured"], found["predicted"]) == (2, 3)


def test_names_of_clusters_do_not_matter_and_one_cluster_tells_nothing() -> None:
    measured = np.array([0, 0, 1, 1, 2])
    assert cluster_agreement(measured, np.array([5, 5, 0, 0, 3]))["ari"] == 1
    nothing = cluster_agreement(measured, np.zeros(5, np.int64))
    assert (nothing["nmi"], nothing["ari"]) == (0, 0)
