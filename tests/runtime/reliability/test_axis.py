"""The axis along which residuals hang together is the one that was put in, as strong and as far."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bleep_cli.prediction.expression.draws import random_field
from bleep_cli.reliability.axis import find_axis
from bleep_cli.types import F32, I64

SIDE, GENES, K = 24, 30, 40


@dataclass
class Missed:
    """Left-out spots of two sections whose residuals are a smooth field along one gene, and noise along all."""

    measured: F32
    genes: int = GENES
    spots: I64 = field(default_factory=lambda: np.arange(2 * SIDE**2))

    def neighbours(self) -> I64:
        rng = np.random.default_rng(5)
        return rng.integers(0, len(self.spots), (len(self.spots), K))

    def blocks(self) -> Iterator[tuple[slice, F32, F32, F32]]:
        for first in range(0, GENES, 8):
            genes = slice(first, min(first + 8, GENES))
            measured = self.measured[:, genes]
            yield genes, np.zeros_like(measured), np.ones_like(measured), measured


def made(range_um: float) -> tuple[Missed, Any]:
    rng = np.random.default_rng(1)
    xy = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2) * 200.0  # px of 0.5 µm
    values = rng.standard_normal((2 * SIDE**2, GENES))
    for half in (slice(0, SIDE**2), slice(SIDE**2, None)):
        values[half, 4] = 1.5 * random_field(xy * 0.5, range_um, rng)
    arrays = SimpleNamespace(
        panel=np.arange(GENES)[::-1].copy(),
        expression=values.astype(np.float32),
        section=np.repeat(["a", "b"], SIDE**2),
        xy_l0=np.concatenate([xy, xy]),
    )
    return Missed(values.astype(np.float32)), arrays


def test_the_gene_that_hangs_together_is_found() -> None:
    missed, arrays = made(300.0)
    found = find_axis(missed, arrays, {"a": 0.5, "b": 0.5})  # type: ignore[arg-type]
    assert found is not None
    assert abs(np.corrcoef(found.values, arrays.expression[:, 4])[0, 1]) > 0.9
    assert found.share > 0.6
    assert found.range_um == pytest.approx(300, rel=0.4)


def test_noise_does_not_hang_together() -> None:
    missed, arrays = made(300.0)
    noise = np.random.default_rng(2).standard_normal(missed.measured.shape).astype(np.float32)
    arrays.expression = noise
    found = find_axis(replace(missed, measured=noise), arrays, {"a": 0.5, "b": 0.5})  # type: ignore[arg-type]
    assert found is not None
    assert found.share * np.exp(-100 / found.range_um) < 0.15


def test_without_a_scale_there_is_none() -> None:
    missed, arrays = made(300.0)
    assert find_axis(missed, arrays, {"a": 0.5}) is None  # type: ignore[arg-type]
