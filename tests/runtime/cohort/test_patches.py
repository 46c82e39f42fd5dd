"""The step of an array of spots, and Moran's I over it, against hand computation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bleep_cli.cohort.patches import morans_i
from bleep_cli.cohort.pitch import pitch

LATTICE = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) * 200.0


def test_pitch_is_the_step_of_a_lattice_whatever_is_missing() -> None:
    assert pitch(LATTICE) == 200
    assert pitch(LATTICE[np.random.default_rng(0).random(len(LATTICE)) > 0.2]) == 200
    assert pitch(LATTICE[:1]) == 1


def test_morans_i_by_hand_and_its_ends() -> None:
    xy = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], float)
    names = np.array(["a"] * 4)
    values = np.array([[1, 0], [2, 1], [3, 0], [6, 1]], np.float32)
    z = values[:, 0] - 3
    by_hand = (z[0] * z[1] + z[1] * (z[0] + z[2]) / 2 + z[2] * (z[1] + z[3]) / 2 + z[3] * z[2]) / (z**2).sum()
    assert morans_i(values, xy, names) == pytest.approx([by_hand, -1])
    assert np.isnan(morans_i(np.ones((4, 1), np.float32), xy, names)).all()
    far = morans_i(values, xy * np.array([1e3, 1]), names)
    assert far == pytest.approx([by_hand, -1])  # in whatever unit


def test_morans_i_knows_hexagons_squares_and_sections() -> None:
    col, row = (side.ravel() for side in np.meshgrid(np.arange(20.0), np.arange(20.0)))
    values = (col > 9).astype(np.float32)[:, None]
    names = np.array(["a"] * 400)
    square = morans_i(values, np.stack([col, row], axis=1), names)
    hexagonal = morans_i(values, np.stack([col + (row % 2) / 2, row * math.sqrt(0.75)], axis=1), names)
    assert square > 0.8 and hexagonal > 0.8
    apart = np.where(col > 9, "b", "a")  # each section is constant
    assert np.isnan(morans_i(values, np.stack([col, row], axis=1), apart)).all()
