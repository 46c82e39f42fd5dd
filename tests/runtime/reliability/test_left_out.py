"""Spots of a reference predicted without their own group, against the same done by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.base.rows import StackedRows
from bleep_cli.bundle.learned.slope import expression_slope
from bleep_cli.bundle.open import open_bundle
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.left_out import LeftOut, leave_out


def all_of(left_out: LeftOut) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f32[m, g] each: predicted, spread, measured."""
    parts = list(left_out.blocks())
    assert [genes.start for genes, *_ in parts] == [0, *(genes.stop for genes, *_ in parts[:-1])]
    predicted, spread, measured = (np.concatenate([part[i] for part in parts], axis=1) for i in (1, 2, 3))
    return predicted, spread, measured


def as_seen(expression: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Expression f64[n, g] smoothed by the singular vectors of its panel, components weighed by how far they stand
    above noise."""
    centred = expression - expression.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred[:, panel], full_matrices=False)
    n, p = len(centred), len(panel)
    edge = (scale**2).sum() / (n * p) * (n**0.5 + p**0.5) ** 2
    return np.asarray(expression.mean(axis=0) + left * (scale**2 / (scale**2 + edge)) @ left.T @ centred)


def by_hand(built: Built, spot: int, inside: np.ndarray, *, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Prediction and spread f64[g] of one spot from the spots ``inside``, without the room's own code."""
    arrays, expression = built.arrays, built.arrays.expression.toarray()
    similarity = arrays.expression_embeddings[inside] @ arrays.image_embeddings[spot]
    near = inside[np.argsort(-similarity, kind="stable")[: built.info.k]]
    mean, spread = expression[near].mean(axis=0), expression[near].std(axis=0)
    if how == "projected":
        expression = expression.astype(np.float64)
        expression[inside] = as_seen(expression[inside], arrays.panel)
        mean = expression[near].mean(axis=0)
    if how != "average":
        slope = expression_slope(arrays.image_embeddings[inside], expression[inside])
        offset = arrays.image_embeddings[spot] - arrays.image_embeddings[near].mean(axis=0)
        mean = np.maximum(mean + offset @ slope, 0)
    return mean, spread


@pytest.mark.parametrize("aggregation", ["average", "corrected", "projected"])
def test_a_spot_is_predicted_from_the_other_donors_alone(small_built: Built, aggregation: Any) -> None:
    built = replace(small_built, info=replace(small_built.info, aggregation=aggregation, k=5))
    left_out = leave_out(built.arrays, built.info)
    assert (left_out.by, left_out.towers) == ("donor", "seen")
    predicted, spread, measured = all_of(left_out)
    np.testing.assert_array_equal(measured, built.arrays.expression.toarray())
    for spot in (0, len(predicted) // 2, len(predicted) - 1):
        inside = np.flatnonzero(built.arrays.donor != built.arrays.donor[spot])
        mean, sd = by_hand(built, spot, inside, how=aggregation)
        np.testing.assert_allclose(predicted[spot], mean, atol=1e-4)
        np.testing.assert_allclose(spread[spot], sd, atol=2e-3)


def test_sections_then_strips_are_left_out_where_there_is_one_donor(small_built: Built) -> None:
    arrays = replace(small_built.arrays, donor=np.full(len(small_built.arrays.donor), "P"))
    by_section = leave_out(arrays, small_built.info)
    assert by_section.by == "section"
    assert [len(set(arrays.section[by_section.fold == f])) for f in np.unique(by_section.fold)] == [1, 1, 1]
    lone = leave_out(replace(arrays, section=arrays.donor), small_built.info)
    assert lone.by == "block"
    sizes = np.bincount(lone.fold)
    assert len(sizes) == 5 and np.ptp(sizes) <= 1


def test_towers_are_fitted_without_what_is_left_out(small_built: Built) -> None:
    arrays, seen = small_built.arrays, []

    def refit(inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen.append(inside)
        return arrays.image_embeddings, arrays.expression_embeddings

    left_out = leave_out(arrays, small_built.info, refit)
    assert left_out.towers == "left out"
    for fold, inside in enumerate(seen):
        assert set(arrays.donor[inside]).isdisjoint(arrays.donor[left_out.spots[left_out.fold == fold]])
    assert len(seen) == 3


def test_of_many_spots_an_even_draw_is_predicted(small_built: Built) -> None:
    some, again = (leave_out(small_built.arrays, small_built.info, most=60) for _ in range(2))
    np.testing.assert_array_equal(some.spots, again.spots)
    donors = small_built.arrays.donor
    assert 55 <= len(some.spots) <= 60 and (np.diff(some.spots) > 0).all()
    for name in set(donors):
        share = (donors[some.spots] == name).sum() / (donors == name).sum()
        assert share == pytest.approx(60 / len(donors), abs=0.03)
    every = all_of(leave_out(small_built.arrays, small_built.info))
    for few, whole in zip(all_of(some), every, strict=True):
        np.testing.assert_allclose(few, whole[some.spots], atol=1e-6)


def test_expression_on_disk_gives_the_same(small_built: Built, small_bundle: Path) -> None:
    stored = StackedRows([open_bundle(small_bundle).expression_rows()])
    from_disk = leave_out(replace(small_built.arrays, expression=stored), small_built.info)
    for disk, memory in zip(
        all_of(from_disk), all_of(leave_out(small_built.arrays, small_built.info)), strict=True
    ):
        np.testing.assert_array_equal(disk, memory)
