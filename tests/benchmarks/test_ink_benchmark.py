"""The benchmark of ink draws what it says, and finds a stroke that is there and none that is not."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def ink(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("ink", None)
    return importlib.import_module("ink")


def test_a_stroke_lies_on_tissue_in_three_ways(ink: ModuleType) -> None:
    below = np.full((2, 3), 196, np.uint8)
    laid = ink.ways((245, 0, 122.5), below)
    np.testing.assert_allclose(laid["opaque"], [[245, 0, 122.5]] * 2)
    np.testing.assert_allclose(laid["multiplied"], [[196, 0, 98]] * 2)
    np.testing.assert_allclose(laid["a quarter of tissue"], [[232.75, 49, 140.875]] * 2)


def test_shares_are_of_the_strokes_pixels(ink: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ink, "STROKES", {"green": (20, 130, 60), "eosin": (225, 120, 170)})
    image = np.full((120, 160, 3), 245, np.uint8)
    image[20:100, 20:140] = (210, 130, 180)
    shares = ink.found(image, 8.0)
    assert shares["green"]["opaque"] == [1.0, 1.0, 1.0]
    assert shares["eosin"]["opaque"] == [0.0, 0.0, 0.0]
    widths = [int(ink.stroke((160, 120), width / 8).sum()) for width in ink.WIDTHS_UM]
    assert widths == sorted(widths) and widths[0] >= 160
