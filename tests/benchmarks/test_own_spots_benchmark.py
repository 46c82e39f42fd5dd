"""The benchmark of own spots tests elsewhere than it draws from, and predicts as the runtime does."""

from __future__ import annotations

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.types import Section

pytestmark = pytest.mark.torch  # its gene sets are those of training
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def own_spots(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    sys.modules.pop("own_spots", None)
    return importlib.import_module("own_spots")


def test_halves_of_a_section_lie_a_pitch_apart(own_spots: ModuleType, small_sections: list[Section]) -> None:
    section = small_sections[0]
    pairs = list(own_spots.turns([section], 100))
    assert len(pairs) == 2
    for pool, test in pairs:
        a, b = section.xy_l0[pool - 100, 0], section.xy_l0[test - 100, 0]  # the picture is wider than high
        assert max(a.min() - b.max(), b.min() - a.max()) >= 20
        assert len(pool) + len(test) > 0.7 * len(section.barcodes)


def test_four_fifths_are_drawn_from_and_the_other_end_tested(
    own_spots: ModuleType, small_sections: list[Section]
) -> None:
    section = small_sections[0]
    n, pairs = len(section.barcodes), list(own_spots.turns([section], 0, 0.8))
    for pool, test in pairs:
        assert 0.7 * n < len(pool) < 0.9 * n
        a, b = section.xy_l0[pool, 0], section.xy_l0[test, 0]
        assert max(a.min() - b.max(), b.min() - a.max()) >= 20
    assert section.xy_l0[pairs[0][1], 0].min() > section.xy_l0[pairs[1][1], 0].max()


def test_of_several_sections_one_is_drawn_from_and_the_others_tested(
    own_spots: ModuleType, small_sections: list[Section]
) -> None:
    n = [len(s.barcodes) for s in small_sections]
    pairs = list(own_spots.turns(small_sections, 10))
    assert [len(pool) for pool, _ in pairs] == n[:2]
    assert all(sorted([*pool, *test]) == list(range(10, 10 + sum(n))) for pool, test in pairs)


def test_it_predicts_as_the_runtime_does(own_spots: ModuleType, projected_bundle: Path) -> None:
    bundle = open_bundle(projected_bundle)
    n_old = bundle.info.sections[0].n + bundle.info.sections[1].n
    expression = np.asarray(bundle.expression(None, 1 << 30))
    keys, images = bundle.embeddings("expression"), bundle.embeddings("image")
    space = own_spots.Space(images, keys, expression, n_old, 9, "average", expression[:, bundle.panel])
    test = np.arange(n_old + 20, n_old + 40)
    own = np.arange(n_old, n_old + 15)
    kept = np.concatenate([np.arange(n_old), own])
    near = kept[np.argsort(-(images[test] @ keys[kept].T), axis=1, kind="stable")[:, :9]]
    np.testing.assert_allclose(space.predict(own, test), expression[near].mean(axis=1), atol=1e-5)
    weights = np.where(near >= n_old, 4.0, 1.0)
    wanted = (expression[near] * weights[..., None]).sum(axis=1) / weights.sum(axis=1)[:, None]
    np.testing.assert_allclose(space.predict(own, test, 4.0), wanted, rtol=1e-5)
    everything = replace(space, n_old=len(keys), how="corrected").predict(np.arange(0), test)
    found = np.argsort(-(images[test] @ keys.T), axis=1, kind="stable")[:, :9]
    offset = images[test] - images[found].mean(axis=1)
    slope = bundle.slope(np.arange(expression.shape[1]))
    np.testing.assert_allclose(
        everything, np.maximum(expression[found].mean(axis=1) + offset @ slope, 0), atol=1e-4
    )
    projected = replace(space, n_old=len(keys), how="projected").predict(np.arange(0), test)
    seen = bundle.components(np.arange(expression.shape[1]))
    told = seen.seen(found.ravel()).reshape(*found.shape, -1).mean(axis=1) + offset @ seen.slope @ seen.loadings
    np.testing.assert_allclose(projected, np.maximum(told, 0), atol=1e-4)
