"""Groups that a bundle may hold: read as they were written, refused where their arrays do not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_damage import reattr_array, seal

from bleep_cli.bundle.learned.around import Around
from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.bundle.learned.looks import AROUND, TILES, VIEWS, Looks
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.parts import Built

NAN = float("nan")


def calibration(built: Built) -> Calibration:
    g = built.arrays.expression.shape[1]
    scores = np.tile(np.array([-1, 0, 2], np.float16), (g, 1))
    levels, floor = np.array([0.1, 0.5, 0.9], np.float32), np.ones(g, np.float32)
    return Calibration(levels, scores, floor, 200.0)


def looks() -> Looks:
    tiles, left_out = np.ones((3, 8), np.float16), np.array([0, 1, 2], np.float32)
    return Looks(tiles, np.arange(3), left_out, (0.5, 0.5), (1.0, 1.0), "donor", around())


def around(um: float = 250.0, left_out: tuple[float, ...] = (0.5, 1.0)) -> Around:
    return Around(um, np.array(left_out, np.float32))


def written(built: Built, folder: Path, **arrays: Any) -> Path:
    path = folder / "b.zarr"
    write_bundle(path, built.info, replace(built.arrays, **arrays))
    return path


def test_they_are_read_as_they_were_written(small_built: Built, tmp_path: Path) -> None:
    whole = calibration(small_built), looks()
    bundle = open_bundle(written(small_built, tmp_path, calibration=whole[0], looks=whole[1]))
    for found, wanted in zip((bundle.calibration(), bundle.looks()), whole, strict=True):
        assert found is not None
        for name, value in vars(wanted).items():
            if isinstance(value, Around):
                assert found.around.um == value.um
                np.testing.assert_array_equal(found.around.left_out, value.left_out)
            else:
                np.testing.assert_array_equal(getattr(found, name), value)


def test_looks_without_those_around_them(small_built: Built, tmp_path: Path) -> None:
    """As all were before format 1.7."""
    path = written(small_built, tmp_path, looks=replace(looks(), around=None))
    found = open_bundle(path).looks()
    assert found is not None and found.around is None
    assert AROUND.rpartition("/")[2] not in [p.name for p in (path / "looks").iterdir()]


@pytest.mark.parametrize(("views", "told"), [(1, True), (8, False)])
def test_looks_that_were_means_over_views_are_not_compared(
    small_built: Built, tmp_path: Path, views: int, told: bool
) -> None:
    """Before format 1.6 nothing was stated, and they were of as many views as the embeddings."""
    built = replace(small_built, info=replace(small_built.info, views=views))
    path = written(built, tmp_path, looks=looks())
    assert open_bundle(path).looks() is not None
    attrs = dict(open_bundle(path).array(TILES).attrs)
    reattr_array(path, TILES, only={name: value for name, value in attrs.items() if name != VIEWS})
    seal(path)
    assert (open_bundle(path).looks() is not None) == told


def test_a_bundle_without_them_says_so(small_bundle: Path) -> None:
    assert open_bundle(small_bundle).calibration() is None
    assert open_bundle(small_bundle).looks() is None


@pytest.mark.parametrize(
    "damage",
    [
        {"levels": np.array([0.5, 0.1, 0.9], np.float32)},
        {"levels": np.array([0.1, 0.9], np.float32)},
        {"scores": np.ones((2, 3), np.float16)},
        {"floor": np.full(12, -1, np.float32)},
        {"floor": np.full(12, NAN, np.float32)},
        {"patch_um": 0.0},
        {"patch_um": NAN},
    ],
)
def test_a_calibration_that_does_not_fit(small_built: Built, tmp_path: Path, damage: dict[str, Any]) -> None:
    broken = replace(calibration(small_built), **damage)
    bundle = open_bundle(written(small_built, tmp_path, calibration=broken))
    with pytest.raises(ReferenceError, match="the arrays of its calibration do not fit together"):
        bundle.calibration()


@pytest.mark.parametrize(
    "damage",
    [
        {"tiles": np.full((3, 8), NAN, np.float16)},
        {"tiles": np.ones((3, 6), np.float16)},
        {"spot": np.array([0, 2, 1])},
        {"spot": np.array([0, 1, 10_000_000])},
        {"left_out": np.array([1, 0], np.float32)},
        {"middle": (NAN, 0.5)},
        {"reach": (1.0, NAN)},
        {"reach": (NAN, 1.0)},
        {"reach": (0.0, 1.0)},
        {"around": around(0.0)},
        {"around": around(NAN)},
        {"around": around(left_out=(1.0, 0.5))},
        {"around": around(left_out=(0.5, NAN))},
        {"around": around(left_out=())},
    ],
)
def test_looks_that_do_not_fit(small_built: Built, tmp_path: Path, damage: dict[str, Any]) -> None:
    bundle = open_bundle(written(small_built, tmp_path, looks=replace(looks(), **damage)))
    with pytest.raises(ReferenceError, match="the arrays of its looks do not fit together"):
        bundle.looks()
