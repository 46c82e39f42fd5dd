"""The parts that the runtime's picture and the paper's figures are both drawn with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from bleep_cli.plotting.style import (
    EXPRESSION,
    BarLook,
    add_axes,
    colour_bar,
    colour_limits,
    extend_of,
    length_words,
    scale_bar_um,
    width_in,
)

LOOK = BarLook(9, 4, 8, 2.5, 0.6, 3.5, 0.025, few_ticks=True)


@pytest.mark.parametrize(("edge", "below"), [({"top": 0.5}, 1 - 2 / 4), ({"bottom": 0.5}, 0.5 / 4)])
def test_axes_stand_where_they_are_told_in_inches(edge: dict[str, float], below: float) -> None:
    axes = add_axes(Figure(figsize=(8, 4), dpi=50), 1, 2, 1.5, **edge)
    assert axes.get_position().bounds == pytest.approx((1 / 8, below, 2 / 8, 1.5 / 4))
    assert width_in(axes) == pytest.approx(2)


@pytest.mark.parametrize(
    ("values", "least", "expected"),
    [
        (np.arange(101.0), -np.inf, (1, 99)),
        ([0.25, 0.25, np.nan], -np.inf, (-0.25, 0.75)),
        ([0.25, 0.25, np.nan], 0.0, (0, 0.75)),
        ([-1.0], 0.0, (-1.5, -0.5)),
        ([np.nan], 0.0, (0, 1)),
    ],
)
def test_colours_span_most_values_and_a_constant_has_one(
    values: Any, least: float, expected: tuple[float, float]
) -> None:
    for dtype in (np.float32, np.float64):
        assert colour_limits(np.array(values, dtype), least) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [([1, 2], "neither"), ([0, 2], "min"), ([1, 3], "max"), ([0, 3, np.nan], "both"), ([np.nan], "neither")],
)
def test_a_bar_is_pointed_where_values_go_beyond(values: list[float], expected: str) -> None:
    assert extend_of(np.array(values), (1.0, 2.0)) == expected


@pytest.mark.parametrize("upright", [False, True])
def test_a_bar_is_labelled_as_it_stands_and_reads_no_formula(upright: bool) -> None:
    figure = Figure(figsize=(4, 4))
    mapped = ScalarMappable(Normalize(0, 10), EXPRESSION)
    axes = add_axes(figure, 1, 0.2, 2, top=1)
    colour_bar(mapped, axes, LOOK, "a $1 gene", extend="max", upright=upright)
    label = axes.yaxis.label if upright else axes.xaxis.label
    assert (label.get_text(), label.get_parse_math(), label.get_fontsize()) == ("a $1 gene", False, 9)
    figure.draw_without_rendering()
    ticks = axes.get_yticks() if upright else axes.get_xticks()
    assert 3 <= len([tick for tick in ticks if 0 <= tick <= 10]) <= 5


@pytest.mark.parametrize(
    ("width", "share", "length", "words"),
    [(1000, 1 / 4, 200, "200 µm"), (1500, 1 / 3, 500, "500 µm"), (9000, 1 / 4, 2000, "2 mm")],
)
def test_a_scale_bar_is_a_round_length(width: float, share: float, length: float, words: str) -> None:
    assert scale_bar_um(width, share) == pytest.approx(length)
    assert length_words(length) == words
