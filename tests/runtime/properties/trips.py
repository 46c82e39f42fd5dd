"""What the tests of round trips have in common: how often they try, folders, texts and numbers to try with."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

always_the_same = settings(
    derandomize=True, max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
"""Twenty-five examples, which are the same in every run, however long they take."""

names = st.text(
    st.characters(exclude_categories=("C",), exclude_characters="\x85\u2028\u2029"), min_size=1, max_size=8
)
"""Texts of any script without signs that steer, not of spaces alone."""
names = names.map(str.strip).filter(bool)


def floats(low: float, high: float) -> Any:
    """f32 values within bounds, the smallest ones among them."""
    return st.floats(*map(float, np.float32((low, high))), width=32, allow_subnormal=False)


def rows_of(draw: Any, count: int, width: int, low: float, high: float) -> np.ndarray:
    """f32[count, width]: some values drawn, the others spread between them."""
    drawn = draw(st.lists(floats(low, high), min_size=1, max_size=6))
    seed = draw(st.integers(0, 2**32 - 1))
    picked = np.random.default_rng(seed).integers(0, len(drawn), (count, width))
    return np.array(drawn, np.float32)[picked]


@contextmanager
def folder() -> Iterator[Path]:
    """One for each example."""
    with tempfile.TemporaryDirectory(prefix="bleep-trip-") as name:
        yield Path(name)
