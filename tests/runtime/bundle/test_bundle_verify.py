"""The full check: it passes a sound bundle, and each of its parts finds what the door trusts."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import zarr
from bundle_damage import edit, reattr, reattr_array, rewrite, seal, values_of

from bleep_cli.bundle.learned.slope import RIDGE, SHARE
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.errors import ReferenceError
from bleep_cli.towers.encoder import unit

CHECKS = ["content hash", "dtypes", "unit vectors", "expression", "slope", "components"]
CHECKS += ["signature", "looks", "calibration", "genes", "spots", "towers", "index"]


def failed(path: Path) -> dict[str, str]:
    """The checks that fail and what they say."""
    return {check.name: check.detail for check in verify(open_bundle(path)) if not check.ok}


def test_a_sound_bundle_passes_every_check(small_bundle: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    checks = verify(open_bundle(small_bundle), lambda *call: calls.append(call))
    assert [check.name for check in checks] == CHECKS
    assert all(check.ok for check in checks), checks
    assert calls == [("verify", i, len(CHECKS)) for i in range(len(CHECKS) + 1)]


def _nan(values: Any) -> None:
    values[3, 4] = np.nan


def _negative(values: Any) -> None:
    values[3, 4] = -1


def _other_tower(path: Path, which: str, model: bytes) -> None:
    data = np.frombuffer(model, np.uint8)
    rewrite(path, f"encoders/{which}", data, sha256=hashlib.sha256(model).hexdigest())


def _duplicate(values: Any) -> None:
    values[1] = values[0]


BREAK: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "an attribute": ("content hash", "content hash", lambda p: reattr(p, licence="mine")),
    "f8 embeddings": (
        "dtypes",
        "wrong dtype: embeddings/image",
        lambda p: rewrite(p, "embeddings/image", values_of(p, "embeddings/image").astype("f8")),
    ),
    "f8 expression": (
        "dtypes",
        "wrong dtype: expression",
        lambda p: rewrite(p, "expression", values_of(p, "expression").astype("f8")),
    ),
    "a long vector": (
        "unit vectors",
        "no unit vectors",
        lambda p: edit(p, "embeddings/image", lambda v: v.fill(1)),
    ),
    "a NaN": ("expression", "NaN, infinity or negative", lambda p: edit(p, "expression", _nan)),
    "a negative": ("expression", "NaN, infinity or negative", lambda p: edit(p, "expression", _negative)),
    "a panel gene twice": ("genes", "duplicate panel genes", lambda p: edit(p, "genes/panel", _duplicate)),
    "a moved spot": (
        "spots",
        "section S0 does not have its",
        lambda p: edit(p, "spots/section", lambda v: v.fill("S1")),
    ),
    "a lost spot": ("spots", "coordinates are no numbers", lambda p: edit(p, "spots/x", lambda v: v.fill(np.nan))),
    "another tile": ("towers", "does not take the tiles", lambda p: reattr(p, tile={"px": 32, "um": [64.0]})),
    "no tower": ("towers", "not a model", lambda p: _other_tower(p, "image", b"no model")),
    "other spots": (
        "towers",
        "does not give the stored embeddings",
        lambda p: edit(p, "embeddings/expression", _turn),
    ),
}


def _turn(values: Any) -> None:
    values[:] = unit(values + 1)


@pytest.mark.parametrize("case", BREAK)
def test_every_check_can_fail(broken: Path, case: str) -> None:
    check, reason, change = BREAK[case]
    change(broken)
    if check != "content hash":
        seal(broken)
    found = failed(broken)
    assert reason in found[check]
    assert ("content hash" in found) == (check == "content hash")


def test_towers_of_another_shape_fail_the_check(
    broken: Path, make_towers: Callable[..., tuple[bytes, bytes]]
) -> None:
    _other_tower(broken, "expression", make_towers(panel=11)[1])
    assert "does not take the bundle's panel" in failed(broken)["towers"]
    _other_tower(broken, "image", make_towers(dim=9)[0])
    assert "does not take the tiles" in failed(broken)["towers"]


def test_an_image_tower_without_its_norm_fails_the_check(broken: Path, tower_bytes: tuple[bytes, bytes]) -> None:
    model = onnx.load_from_string(tower_bytes[0])
    last = model.graph.node[-1]
    last.op_type = "Identity"
    del last.attribute[:]
    _other_tower(broken, "image", model.SerializeToString())
    assert "does not give unit vectors" in failed(broken)["towers"]


def test_a_damaged_chunk_fails_its_checks_and_stops_none(broken: Path) -> None:
    file = broken / "expression/c/0/0"
    file.write_bytes(file.read_bytes()[:50])
    checks = verify(open_bundle(broken))
    assert [check.name for check in checks] == CHECKS
    assert [check.name for check in checks if not check.ok] == ["content hash", "expression", "towers"]


@pytest.mark.parametrize("value", [np.float32(3), "three"])
def test_an_array_of_no_axes_is_hashed_by_its_value(broken: Path, value: Any) -> None:
    held = np.array(value, dtype=object if isinstance(value, str) else None)
    root = zarr.open_group(broken, mode="r+")
    lone = root.create_array("own/lone", shape=(), dtype=str if isinstance(value, str) else held.dtype)
    lone[...] = held
    assert list(failed(broken)) == ["content hash"]
    seal(broken)
    assert failed(broken) == {}
    lone[...] = held + held
    assert list(failed(broken)) == ["content hash"]


def test_another_slope_fails_the_check(corrected_bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(corrected_bundle, tmp_path / "c.zarr"))
    (slope,) = (check for check in verify(open_bundle(path)) if check.name == "slope")
    assert slope.ok and slope.detail.startswith(f"ridge {RIDGE:g}, share {SHARE:g}; reproduced to ")
    reattr_array(path, "slope", share=SHARE / 2)
    seal(path)
    assert "not that of the stored embeddings and expression" in failed(path)["slope"]
    reattr_array(path, "slope", share="most")
    assert "slope: share is 'most' and no number" in failed(path)["slope"]
    reattr_array(path, "slope", share=SHARE)
    edit(path, "slope", lambda values: values.__setitem__((2, 3), np.nan))
    assert "slope holds NaN or infinity" in failed(path)["slope"]
    rewrite(path, "slope", values_of(path, "embeddings/image")[:8, :3])
    with pytest.raises(ReferenceError, match=r"slope has shape \(8, 3\), not \(8, 12\)"):
        open_bundle(path)


def test_other_components_fail_the_check(projected_bundle: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(projected_bundle, tmp_path / "p.zarr"))
    (found,) = (check for check in verify(open_bundle(path)) if check.name == "components")
    assert found.ok and " components, penalty " in found.detail
    edit(path, "components/scores", lambda values: values.__setitem__((slice(None), 0), -values[:, 0]))
    assert "not those of the stored expression" in failed(path)["components"]
    edit(path, "components/loadings", lambda values: values.__setitem__(0, -values[0]))
    assert "not those of the stored expression" in failed(path)["components"]  # its slope is left as it was
    edit(path, "components/slope", lambda values: values.__setitem__((slice(None), 0), -values[:, 0]))
    assert set(failed(path)) == {"content hash"}  # a component may point either way
    reattr_array(path, "components/loadings", penalty="none")
    assert "components/loadings: penalty is 'none' and no number" in failed(path)["components"]
    edit(path, "components/mean", lambda values: values.__setitem__(3, np.nan))
    assert "components holds NaN or infinity" in failed(path)["components"]
    rewrite(path, "components/loadings", values_of(path, "components/loadings")[:, :3])
    with pytest.raises(ReferenceError, match=r"components/loadings has shape \(\d+, 3\), not \(\d+, 12\)"):
        open_bundle(path)


@pytest.mark.parametrize("lacks", ["mean", "slope"])
def test_a_bundle_that_lacks_part_of_its_components_is_refused(
    projected_bundle: Path, tmp_path: Path, lacks: str
) -> None:
    path = Path(shutil.copytree(projected_bundle, tmp_path / "p.zarr"))
    shutil.rmtree(path / "components" / lacks)
    with pytest.raises(ReferenceError, match=f"no array components/{lacks}"):
        open_bundle(path)


def test_a_bundle_that_wants_components_and_has_none_fails_the_check(broken: Path) -> None:
    reattr(broken, aggregation="projected")
    assert "there is no group components" in failed(broken)["components"]


def test_a_bundle_that_wants_a_slope_and_has_none_fails_the_check(broken: Path) -> None:
    reattr(broken, aggregation="corrected")
    assert "there is no array slope" in failed(broken)["slope"]
