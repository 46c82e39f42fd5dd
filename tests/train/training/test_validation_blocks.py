"""Blocks held back: a strip of every section, and nothing learned from whose field of view reaches into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError
from bleep_cli.types import F32, F64, Section
from bleep_train.config.schema import ValidationConfig
from bleep_train.data.blocks import positions_um
from bleep_train.data.training_set import TrainingSet
from bleep_train.training.validation import Validation, choose_validation, validation_record

ACROSS, ALONG, PITCH_UM, MPP = 4, 15, 100.0, 0.5


def grid(transposed: bool = False) -> F64:
    """Level-0 pixels of 15 × 4 spots, 100 µm apart; longer along x, or along y."""
    along, across = np.divmod(np.arange(ACROSS * ALONG), ACROSS)
    xy = np.stack([along, across], axis=1) * PITCH_UM / MPP
    return xy[:, ::-1] if transposed else xy


def made(*donors: str, **same: Any) -> TrainingSet:
    """A section of each donor; every other one lies the other way."""
    names, n = np.array(["g0", "g1"]), ACROSS * ALONG
    sections = tuple(
        Section(
            id=f"S{i}",
            donor=donor,
            sha256=f"S{i}",
            counts=sparse.csr_matrix((n, 2), dtype=np.float32),
            symbols=names,
            gene_ids=names,
            barcodes=np.arange(n).astype(str),
            xy_l0=grid(transposed=i % 2 == 1),
            image="",
            mpp=MPP,
        )
        for i, donor in enumerate(donors)
    )
    panel: F32 = np.random.default_rng(0).random((n * len(donors), 2)).astype(np.float32)
    return TrainingSet(sections, names, panel, panel, np.repeat(np.arange(len(donors)), n), ())


def held_back(data: TrainingSet, field_um: float, **config: Any) -> Validation:
    found = choose_validation(data, ValidationConfig(**{"by": "blocks"} | config), field_um)
    assert found is not None
    return found


def steps(rows: Any, section: int) -> set[int]:
    """Which of the 15 steps along a section those rows are at; all spots of a step, or none."""
    own = rows[rows // (ACROSS * ALONG) == section] % (ACROSS * ALONG) // ACROSS
    counts = np.bincount(own, minlength=ALONG)
    assert set(counts) <= {0, ACROSS}
    return set(np.flatnonzero(counts).tolist())


@pytest.mark.parametrize(("field_um", "margin"), [(100.0, 0), (100.1, 1), (155.0, 1), (200.1, 2)])
def test_a_strip_of_three_steps_and_the_steps_that_a_field_of_view_reaches(field_um: float, margin: int) -> None:
    """Tiles of 155 µm, 100 µm apart, share pixels; of 100 µm they touch and share none."""
    data = made("P", "P")
    found = held_back(data, field_um)
    for section in (0, 1):
        back = steps(found.rows, section)
        first = min(back)
        assert back == {first, first + 1, first + 2} and first % 3 == 0
        near = set(range(first - margin, first + 3 + margin))
        assert steps(found.training, section) == set(range(ALONG)) - near
    assert len(set(found.rows) & set(found.training)) == 0


def test_no_tile_that_is_learned_from_shows_a_pixel_of_one_held_back() -> None:
    rng, field_um = np.random.default_rng(4), 130.0
    scattered = replace(made("P").sections[0], xy_l0=rng.uniform(0, 2000, (ACROSS * ALONG, 2)))
    data = replace(made("P"), sections=(scattered,))
    found = held_back(data, field_um)
    um = scattered.xy_l0 * MPP
    apart = np.abs(um[found.training][:, None] - um[found.rows][None]).max(axis=2)
    assert apart.min() >= field_um
    left_out = np.setdiff1d(np.arange(len(um)), [*found.rows, *found.training])
    assert len(left_out) > 0
    nearest = np.abs(um[left_out][:, None] - um[found.rows][None]).max(axis=2).min(axis=1)
    assert nearest.max() < field_um  # and no spot is left out without need


def test_the_seed_draws_the_strip_of_each_section() -> None:
    data = made(*"PPPPPPPP")
    first, again, other = (held_back(data, 1.0, seed=seed) for seed in (0, 0, 1))
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()
    assert len({min(steps(first.rows, section)) for section in range(8)}) > 2


def test_the_record_counts_the_margin() -> None:
    found = held_back(made("P"), 155.0, seed=2)
    told = validation_record(found)
    steps_beside = ALONG - 3 - len(steps(found.training, 0))
    assert told == {"by": "blocks", "names": [], "spots": 3 * ACROSS, "margin": steps_beside * ACROSS}
    assert steps_beside in (1, 2)


@pytest.mark.parametrize(
    ("donors", "by", "names"),
    [("PQ", "donor", ("Q",)), ("PPQ", "donor", ("Q",)), ("PP", "section", ("S1",)), ("P", "blocks", ())],
)
def test_auto_takes_the_most_independent_there_is(donors: str, by: str, names: tuple[str, ...]) -> None:
    found = held_back(made(*donors), 155.0, by="auto")
    assert (found.by, found.names) == (by, names)
    assert validation_record(found)["by"] == by


def test_a_field_as_wide_as_the_section_leaves_nothing_to_learn_from() -> None:
    with pytest.raises(UsageError, match=r"validation\.by = blocks: 0 spots to learn from and 12 to validate on"):
        held_back(made("P"), 5000.0)


def test_positions_are_in_micrometres_whoever_knows_the_pixel_size(
    write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    (section,) = read_cohort(write_cohort(tmp_path, ("tiff",)))
    assert section.mpp is None  # the picture says 4 µm
    np.testing.assert_allclose(positions_um(section), section.xy_l0 * 4, rtol=1e-6)
    np.testing.assert_allclose(positions_um(replace(section, mpp=0.5)), section.xy_l0 / 2)
