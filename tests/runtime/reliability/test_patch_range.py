"""Draws of left-out spots come out as patchy as what was measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.cohort.patches import morans_i
from bleep_cli.prediction.expression.draws import RandomFields, draw
from bleep_cli.reliability.left_out import LeftOut, leave_out
from bleep_cli.reliability.patch_range import RANGES, patch_range
from bleep_cli.types import F32, F64, Neighbours

SIDE, GENES, DIM = 24, 60, 3
PITCH = 100.0
MPP = {"a": 0.5, "b": 0.5}


@dataclass(frozen=True)
class Made:
    """Two sections whose looks say nothing of their expression."""

    arrays: BundleArrays
    xy: F64 = field(repr=False)


def made(range_um: float, noise: float) -> Made:
    """Genes are smooth fields of that range, each with as much noise as ``noise`` of its variance."""
    rng = np.random.default_rng(1)
    xy = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2) * PITCH / 0.5
    n = len(xy)
    rows = np.tile(np.arange(GENES), (n, 1))
    values = np.concatenate([RandomFields(range_um, GENES, rng).at(xy * 0.5, rows) for _ in "ab"])
    values = 4 + np.sqrt(1 - noise) * values + np.sqrt(noise) * rng.standard_normal(values.shape)
    # tissue that changes slowly, as it does: tiles side by side share most of their neighbours
    slow = [RandomFields(2000.0, DIM, rng).at(xy * 0.5, rows[:, :DIM]) for _ in "ab"]
    vectors = np.concatenate(slow).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = np.array([f"G{i}" for i in range(GENES)])
    arrays: Any = SimpleNamespace(
        image_embeddings=vectors,
        expression_embeddings=vectors,
        expression=values.astype(np.float32),
        panel=np.arange(GENES),
        symbols=names,
        section=np.repeat(["a", "b"], n),
        donor=np.repeat(["P", "P"], n),
        xy_l0=np.concatenate([xy, xy]),
    )
    return Made(arrays, xy)


def left(found: Made) -> LeftOut:
    info: Any = SimpleNamespace(k=20, key="image", aggregation="average")
    return leave_out(found.arrays, info)


def patchiness(found: Made, left_out: LeftOut, range_um: float) -> tuple[float, float]:
    """Moran's I of the draws of left-out spots, and of what was measured."""
    drawn: list[F32] = []
    own: list[F32] = []
    for fold in left_out.folds:
        where = found.xy * 0.5
        known = found.arrays.expression[fold.inside]
        measured = found.arrays.expression[left_out.spots[fold.at]]
        for number in range(20, 28):
            rows = draw(Neighbours(fold.neighbours.index, fold.weights), fold.weights, range_um, where, number)
            drawn.append(morans_i(known[rows], where, np.full(len(where), "x")))
        own.append(morans_i(measured, where, np.full(len(where), "x")))
    return float(np.mean(drawn)), float(np.mean(own))


def test_draws_are_as_patchy_as_what_was_measured() -> None:
    found = made(range_um=300.0, noise=0.5)
    left_out = left(found)
    told = patch_range(left_out, found.arrays, MPP)
    assert told is not None
    assert RANGES[0] * PITCH < told < RANGES[-1] * PITCH
    drawn, measured = patchiness(found, left_out, told)
    assert drawn == pytest.approx(measured, rel=0.1)
    least, _ = patchiness(found, left_out, RANGES[0] * PITCH)
    assert least < 0.7 * measured


def test_noise_does_not_hang_together() -> None:
    found = made(range_um=300.0, noise=1.0)
    told = patch_range(left(found), found.arrays, MPP)
    assert told is not None
    assert told <= PITCH


def test_without_a_scale_or_spots_side_by_side_there_is_none() -> None:
    found = made(range_um=300.0, noise=0.5)
    left_out = left(found)
    assert patch_range(left_out, found.arrays, {"a": 0.5}) is None
    few = replace(left_out, spots=left_out.spots[:9], folds=())
    assert patch_range(few, found.arrays, MPP) is None
