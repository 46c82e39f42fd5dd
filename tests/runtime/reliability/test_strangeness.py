"""How strange tiles are, against the same by hand; and how a bundle keeps it, grows it and refuses it damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_looks import FEATURES, looking

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.looks import STAIN, Looks
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.grow import grow_reference
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.strangeness import calibrated
from bleep_cli.types import Section


@pytest.fixture(scope="module")
def built(small_sections: list[Section], make_encoders: Callable[..., Encoders]) -> Built:
    return with_reliability(build_reference(small_sections, looking(make_encoders()), device="cpu"))


def nearest(query: np.ndarray, tiles: np.ndarray) -> float:
    return float(np.sort(np.linalg.norm(tiles - query, axis=1))[:10].mean())


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray, Looks]:
    rng = np.random.default_rng(5)
    looks, group = rng.normal(size=(90, 9)).astype(np.float16).astype(np.float32), np.repeat([0, 1, 2], 30)
    return looks, group, calibrated(looks, np.arange(90), group, "section")


def test_a_tile_is_as_strange_as_its_stranger_part(made: tuple[np.ndarray, np.ndarray, Looks]) -> None:
    looks, group, found = made
    parts = slice(0, 3), slice(3, None)
    own = np.array(
        [[nearest(looks[i, p], looks[group != group[i]][:, p]) for p in parts] for i in range(len(looks))]
    )
    middle, far = np.quantile(own, [0.5, 0.95], axis=0)
    np.testing.assert_allclose(found.middle, middle, rtol=1e-3)
    np.testing.assert_allclose(found.left_out, np.sort(((own - middle) / (far - middle)).max(axis=1)), atol=1e-3)
    queries = np.random.default_rng(6).normal(size=(5, 9)).astype(np.float32)
    queries[0, :3] += 8  # other tissue
    queries[1, 3:] += 8  # another stain
    apart = np.array([[nearest(query[p], looks[:, p]) for p in parts] for query in queries])
    wanted = ((apart - middle) / (far - middle)).max(axis=1)
    scores = found.scores(queries)
    np.testing.assert_allclose(scores, wanted, rtol=1e-3, atol=1e-3)
    assert scores[:2].min() > 3 > scores[2:].max()


def test_p_is_the_share_of_left_out_tiles_as_strange(made: tuple[np.ndarray, np.ndarray, Looks]) -> None:
    _, _, found = made
    scores = np.array([-np.inf, found.left_out[-1], found.left_out[45], np.inf], np.float32)
    np.testing.assert_allclose(found.p_values(scores), [1, 2 / 91, 46 / 91, 1 / 91], rtol=1e-6)


def test_a_bundle_keeps_them(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "ref.zarr.zip"
    write_bundle(path, built.info, built.arrays)
    bundle, wanted = open_bundle(path), built.arrays.looks
    found = bundle.looks()
    assert found is not None and wanted is not None
    assert (found.middle, found.reach, found.by) == (wanted.middle, wanted.reach, "donor")
    np.testing.assert_array_equal(found.tiles, wanted.tiles)
    np.testing.assert_array_equal(found.left_out, wanted.left_out)
    assert found.tiles.shape == (len(built.arrays.section), FEATURES + STAIN)
    assert [check.name for check in verify(bundle) if not check.ok] == []


def test_a_tower_without_them_has_none(small_built: Built) -> None:
    assert with_reliability(small_built).arrays.looks is None


def test_a_reference_that_grew_is_that_of_all_sections(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], built: Built, tmp_path: Path
) -> None:
    first = with_reliability(build_reference(small_sections[:2], looking(make_encoders()), device="cpu"))
    write_bundle(tmp_path / "base.zarr", first.info, first.arrays)
    grown = with_reliability(grow_reference(open_bundle(tmp_path / "base.zarr"), small_sections[2:], device="cpu"))
    assert grown.arrays.looks is not None and built.arrays.looks is not None
    np.testing.assert_allclose(grown.arrays.looks.tiles, built.arrays.looks.tiles, atol=1e-2)
    np.testing.assert_allclose(grown.arrays.looks.left_out, built.arrays.looks.left_out, atol=1e-2)
    np.testing.assert_array_equal(grown.arrays.looks.spot, built.arrays.looks.spot)


def test_arrays_that_do_not_fit_are_refused(built: Built, tmp_path: Path) -> None:
    assert built.arrays.looks is not None
    short = replace(built.arrays.looks, spot=built.arrays.looks.spot[:-1])
    write_bundle(tmp_path / "bad.zarr", built.info, replace(built.arrays, looks=short))
    with pytest.raises(ReferenceError, match="the arrays of its looks do not fit together"):
        open_bundle(tmp_path / "bad.zarr").looks()
