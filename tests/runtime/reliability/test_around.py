"""Tiles judged with those around them, against the same by hand; and what that is worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bleep_cli.bundle.learned.around import MOST_NEAR, with_those_around
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.reliability import strangeness
from bleep_cli.reliability.strangeness import Spots, calibrated, left_out_around

SIDE = 12
PITCH = 100.0
EVERY = np.arange(3 * SIDE * SIDE)


def square(side: int = SIDE, pitch: float = PITCH) -> np.ndarray:
    y, x = np.mgrid[:side, :side]
    return np.stack([x.ravel(), y.ravel()], axis=1) * pitch


def by_hand(
    scores: np.ndarray, at: np.ndarray, reach: float, counted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    out, enough = scores.copy(), np.zeros(len(scores), bool)
    for i in range(len(scores)):
        near = np.flatnonzero((np.linalg.norm(at - at[i], axis=1) <= reach) & counted)
        if counted[i] and len(near) - 1 >= 4:
            out[i], enough[i] = scores[i] / 2 + np.minimum(scores[near], 3).mean() / 2, True
    return out, enough


def test_half_of_a_score_is_of_those_around() -> None:
    rng = np.random.default_rng(0)
    at = np.concatenate([square(), [[9e4, 9e4]]])  # the last lies alone
    scores = rng.normal(1, 2, len(at)).astype(np.float32)
    counted = rng.random(len(at)) > 0.2
    counted[-1] = True
    wanted, enough = by_hand(scores, at, 150, counted)
    found, told = with_those_around(scores, at, 150, counted)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    np.testing.assert_array_equal(told, enough)
    assert 0 < told.sum() < len(at) and not told[-1] and found[-1] == scores[-1]


def test_many_tiles_within_reach_are_as_few() -> None:
    """However close the tiles lie, what counts is the nearest of them."""
    at = square(20, 1.0)
    found, told = with_those_around(np.ones(len(at), np.float32), at, 50.0, np.ones(len(at), bool))
    assert told.all() and len(at) > MOST_NEAR
    np.testing.assert_allclose(found, 1, rtol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 4])
def test_few_tiles_are_judged_by_themselves(count: int) -> None:
    scores = np.arange(count, dtype=np.float32)
    found, told = with_those_around(scores, square()[:count], 1e9, np.ones(count, bool))
    np.testing.assert_array_equal(found, scores)
    assert not told.any()


def test_a_stroke_stays_told_and_has_no_halo() -> None:
    scores = np.zeros(SIDE * SIDE, np.float32)
    stroke = np.arange(SIDE * SIDE) // SIDE == SIDE // 2
    scores[stroke] = 20
    found, _ = with_those_around(scores, square(), 2.5 * PITCH, np.ones(len(scores), bool))
    assert found[stroke].min() > 10 and found[~stroke].max() < 1


def spots(shift: float = 0.0, seed: int = 0) -> Spots:
    """Three sections, or one whose looks are all shifted."""
    rng = np.random.default_rng(seed)
    n = SIDE * SIDE
    sections = 3 if not shift else 1
    looks = rng.normal(size=(sections * n, 12)).astype(np.float16).astype(np.float32)
    looks[:, :6] += shift
    group = np.repeat(np.arange(sections), n)
    return Spots(looks, group, np.array([f"s{g}" for g in group]), np.tile(square(), (sections, 1)))


def whole(of: Spots, rows: np.ndarray, reach: float = 250.0) -> Looks:
    found = calibrated(of.looks[rows], rows, of.group[rows], "section")
    return replace(found, around=left_out_around(found, rows, of, reach))


def test_the_references_own_are_left_out_of_their_group() -> None:
    of = spots()
    found = whole(of, EVERY)
    wanted = []
    for name in range(3):
        inside = of.group == name
        others = replace(found, tiles=found.tiles[~inside])
        own, at = others.scores(of.looks[inside]), of.xy_um[inside]
        wanted.append(by_hand(own, at, 250, np.ones(len(own), bool))[0])
    assert found.around is not None and found.around.um == 250
    np.testing.assert_allclose(found.around.left_out, np.sort(np.concatenate(wanted)), atol=2e-3)


def test_of_a_draw_all_those_around_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    of = spots()
    rows = np.arange(0, len(of.group), 3)  # the tiles that are kept lie too far apart
    monkeypatch.setattr(strangeness, "AROUND_SPOTS", 90)
    found, every = whole(of, rows, 150), whole(of, EVERY, 150)
    assert found.around is not None and every.around is not None
    assert 80 < len(found.around.left_out) <= 90 < len(every.around.left_out)  # less the corners
    np.testing.assert_allclose(np.median(found.around.left_out), np.median(every.around.left_out), atol=0.1)


def test_a_small_change_of_the_whole_slide_is_told() -> None:
    """That single tiles hide; of the unchanged as many are called strange as was asked for."""
    found = whole(spots(), EVERY)
    everywhere = np.ones(SIDE * SIDE, bool)
    told = {}
    for shift in (1e-9, 1.3):
        of = spots(shift, seed=1)
        own = found.scores(of.looks)
        told[shift] = [
            float((p <= 0.05).mean()) for p in (found.p_values(own), found.judged(own, of.xy_um, everywhere)[1])
        ]
    by_themselves, together = told[1.3]
    assert together > 0.8 and by_themselves < 0.5
    assert max(told[1e-9]) < 0.12


def test_a_tile_alone_is_measured_by_tiles_alone() -> None:
    found = whole(spots(), EVERY)
    scores = np.linspace(-1, 3, 20, dtype=np.float32)
    apart = np.arange(20)[:, None] * np.array([[1e5, 0]])
    same, p = found.judged(scores, apart, np.ones(20, bool))
    np.testing.assert_array_equal(same, scores)
    np.testing.assert_array_equal(p, found.p_values(scores))


def test_spots_too_far_apart_have_nothing_around() -> None:
    assert whole(spots(), EVERY, reach=PITCH / 2).around is None


def test_without_them_tiles_are_judged_by_themselves() -> None:
    found = replace(whole(spots(), EVERY), around=None)
    scores = found.scores(spots().looks[:144])
    same, p = found.judged(scores, square(), np.ones(144, bool))
    np.testing.assert_array_equal(same, scores)
    np.testing.assert_array_equal(p, found.p_values(scores))
