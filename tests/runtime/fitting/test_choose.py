"""What is held out, and which choice is taken of those that are alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from bleep_cli.fitting.choose import Choice, choose, held_out_groups
from bleep_cli.types import F32, Section


def section(name: str, donor: str, n: int = 10) -> Section:
    xy = np.stack([np.arange(n) * 100.0, np.arange(n) % 3 * 10.0], axis=1)
    none = np.empty(0, str)
    return Section(name, donor, name, None, none, none, np.arange(n).astype(str), xy, "", None)


@pytest.mark.parametrize(
    ("donors", "by", "groups"),
    [
        (("A", "A", "B"), "donor", [0, 0, 1]),
        (("A", "B", "A"), "donor", [0, 1, 0]),
        (("A", "A", "A"), "section", [0, 1, 2]),
    ],
)
def test_donors_are_held_out_where_there_are_several(donors: Sequence[str], by: str, groups: list[int]) -> None:
    sections = [section(f"S{i}", donor) for i, donor in enumerate(donors)]
    held_out, group = held_out_groups(sections)
    assert held_out == by
    assert group.tolist() == np.repeat(groups, 10).tolist()


def test_one_section_is_cut_into_strips_across_its_longer_side() -> None:
    by, group = held_out_groups([section("S", "A", 50)])
    assert by == "block"
    assert group.tolist() == np.repeat(np.arange(5), 10).tolist()
    turned = replace(section("S", "A", 50), xy_l0=section("S", "A", 50).xy_l0[:, ::-1])
    assert held_out_groups([turned])[1].tolist() == group.tolist()


def made(seed: int, noise: float) -> tuple[list[F32], F32]:
    """Three sets of features of 120 spots in 4 groups: one field that says all, and two that only add noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(120, 3))
    first = hidden @ rng.normal(size=(3, 12)) + noise * rng.normal(size=(120, 12))
    wider = [first, *(np.hstack([first, rng.normal(size=(120, 12 * k))]) for k in (1, 2))]
    expression = np.exp(hidden @ rng.normal(size=(3, 60)) * 0.5)
    return [x.astype(np.float32) for x in wider], expression.astype(np.float32)


def test_fields_that_only_add_noise_are_left_out() -> None:
    features, expression = made(0, 0.3)
    choice = choose(features, expression, "section", np.repeat(np.arange(4), 30), k=10)
    assert choice.fields == 1
    assert choice.score > 0.5
    assert choice.best - choice.score <= 2 * choice.error


def test_of_alike_penalties_the_strongest_is_taken() -> None:
    """Expression that no feature tells leaves all choices alike: the most cautious one is taken."""
    rng = np.random.default_rng(1)
    features = [rng.normal(size=(80, 8)).astype(np.float32)]
    expression = rng.random((80, 60)).astype(np.float32)
    choice = choose(features, expression, "section", np.repeat(np.arange(4), 20), k=10, penalties=(1.0, 1.0001))
    assert choice.penalty == 1.0001
    assert abs(choice.score) < 0.2


def test_the_same_spots_give_the_same_choice() -> None:
    features, expression = made(2, 0.3)
    group = np.repeat(np.arange(4), 30)
    told = choose(features, expression, "section", group, k=10)
    assert told == choose(features, expression, "section", group, k=10)
    assert told.attrs()["chosen_by"] == "leave one section out"


def test_the_strongest_penalty_within_the_error_or_a_twentieth() -> None:
    """Each penalty's own score and error, asked for alone, say which one must come of all together."""
    rng = np.random.default_rng(3)
    signal = rng.normal(size=(160, 4))
    features = np.hstack([signal, rng.normal(size=(160, 40))]).astype(np.float32)
    expression = (signal @ rng.normal(size=(4, 60)) + 2 * rng.normal(size=(160, 60))).astype(np.float32)
    group, penalties = np.repeat(np.arange(4), 40), (1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6)

    def chosen(among: Sequence[float]) -> Choice:
        return choose([features], expression, "donor", group, k=10, penalties=among, components=(20,))

    alone = [chosen((penalty,)) for penalty in penalties]
    best = max(alone, key=lambda one: one.score)
    least = best.score - max(best.error, 0.05 * best.score)
    expected = max(one.penalty for one in alone if one.score >= least)
    assert best.penalty < expected < penalties[-1]  # the rule has something to say here
    assert chosen(penalties).penalty == expected
