"""What is measured again of a bundle: a sound one passes, and every number that is derived can be found wrong."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from bleep_cli.base.assets import DEMO_BUNDLE, asset
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.checks.derived import derived
from bleep_cli.checks.inspection import inspect_bundle
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability

NAMES = ["reliability again", "intervals again", "strangeness again"]


@pytest.fixture(scope="module")
def measured(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that says how reliable it is, and what some of its tiles look like."""
    looks = np.random.default_rng(1).normal(size=(len(small_built.arrays.section), 10)).astype(np.float32)
    built = with_reliability(replace(small_built, looks=looks))
    path = tmp_path_factory.mktemp("measured") / "measured.zarr"
    write_bundle(path, built.info, built.arrays)
    return path


@pytest.fixture
def other(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "other.zarr"))


def change(path: Path, name: str, how: Callable[[Any], None]) -> None:
    array = zarr.open_group(path, mode="r+")[name]
    values = array[...]
    how(values)
    array[...] = values


def failed(path: Path) -> dict[str, str]:
    return {check.name: check.detail for check in derived(open_bundle(path)) if not check.ok}


@pytest.mark.parametrize("which", ["small", "demo"])
def test_a_sound_bundle_gives_its_numbers_again(measured: Path, which: str) -> None:
    path = measured if which == "small" else asset(DEMO_BUNDLE)
    checks = derived(open_bundle(path))
    assert all(check.ok for check in checks), checks
    if which == "small":
        assert [check.name for check in checks] == NAMES
        assert "heldout_r, heldout_r_high" in checks[0].detail and "measured_q95" in checks[0].detail
        assert "left-out distances" in checks[2].detail
        _, lines, _ = inspect_bundle(path, verify=True)
        assert [line.split()[0] for line in lines if "again: " in line] == ["ok"] * 3


@pytest.mark.parametrize(
    ("name", "check", "reason"),
    [
        ("genes/heldout_r", NAMES[0], "not what its spots give: heldout_r"),
        ("genes/heldout_mae", NAMES[0], "not what its spots give: heldout_mae"),
        ("genes/measured_q50", NAMES[0], "not what its spots give: measured_q50"),
        ("genes/heldout_rank", NAMES[0], "ranks of the genes are not those"),
        ("calibration/floor", NAMES[1], "not what its spots give"),
        ("calibration/scores", NAMES[1], "not what its spots give"),
        ("looks/left_out", NAMES[2], "not those of the stored looks"),
        ("looks/left_out_around", NAMES[2], "not those of the stored looks"),
        ("looks/tiles", NAMES[2], "not those of the stored looks"),
    ],
)
def test_a_better_number_than_the_spots_give_is_found(other: Path, name: str, check: str, reason: str) -> None:
    change(other, name, lambda values: np.multiply(values, 1.5, out=values, casting="unsafe"))
    assert reason in failed(other)[check]


def test_a_bundle_that_says_otherwise_how_it_was_measured_is_found(other: Path) -> None:
    attrs = zarr.open_group(other, mode="r+").attrs
    attrs["reliability"] = attrs["reliability"] | {"spots": 7}
    assert failed(other) == {NAMES[0]: "not what its spots give: spots"}
    attrs["reliability"] = attrs["reliability"] | {"spots": open_bundle(other).n_spots, "towers": "left out"}
    change(other, "genes/heldout_r", lambda values: np.add(values, 0, out=values))
    believed = {check.name: check.detail for check in derived(open_bundle(other))}
    assert "believed" in believed[NAMES[0]] and "believed" in believed[NAMES[1]]
    attrs["reliability"] = {}
    assert [check.detail for check in derived(open_bundle(other))] == ["none stored"]


def test_the_embedding_of_the_last_spot_is_looked_at_too(other: Path) -> None:
    change(other, "embeddings/expression", lambda values: values.__setitem__(-1, values[0]))
    (towers,) = (check for check in verify(open_bundle(other)) if check.name == "towers")
    assert not towers.ok and "does not give the stored embeddings" in towers.detail
