"""The signature in a bundle: written, read back, checked; grown with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from made_nuclei import section, small_signature, tissue

from bleep_cli.bundle.learned.signature import TILES, Signature
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.grow import grow_reference
from bleep_cli.reference.parts import Built
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.types import Section, TileSpec


@pytest.fixture
def signed(small_built: Built, tmp_path: Path) -> Path:
    arrays = replace(small_built.arrays, signature=small_signature(sections=3))
    write_bundle(tmp_path / "s.zarr", small_built.info, arrays)
    return tmp_path / "s.zarr"


def equal(one: Signature | None, other: Signature) -> None:
    assert one is not None
    for path, values in other.arrays().items():
        np.testing.assert_array_equal(one.arrays()[path], values)
    assert one.attrs() == other.attrs()


def test_a_signature_comes_back_as_it_was(signed: Path) -> None:
    bundle = open_bundle(signed)
    equal(bundle.signature(), small_signature(sections=3))
    assert [check.name for check in verify(bundle) if not check.ok] == []
    assert bundle.array(TILES).dtype == np.float16


def test_a_bundle_may_have_none(small_bundle: Path) -> None:
    bundle = open_bundle(small_bundle)
    assert bundle.signature() is None
    (told,) = [check.detail for check in verify(bundle) if check.name == "signature"]
    assert told == "none stored; the scale of slides is not checked"


def test_the_same_signature_gives_the_same_bytes(signed: Path, small_built: Built, tmp_path: Path) -> None:
    arrays = replace(small_built.arrays, signature=small_signature(sections=3))
    for name in ("a.zarr.zip", "b.zarr.zip"):
        write_bundle(tmp_path / name, small_built.info, arrays)
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def _attribute(**values: Any) -> Callable[[zarr.Group], None]:
    return lambda root: root[TILES].attrs.update(values)


def _values(name: str, row: Any, value: float) -> Callable[[zarr.Group], None]:
    def change(root: zarr.Group) -> None:
        array = root[f"signature/{name}"]
        values = array[...]
        values[row] = value
        array[...] = values

    return change


def _shorter(root: zarr.Group) -> None:
    values = root["signature/rest"][...]
    del root["signature/rest"]
    root.create_array("signature/rest", data=values[:, 1:])


BROKEN: dict[str, Callable[[zarr.Group], None]] = {
    "scales out of order": _attribute(scales=[0.5, 1, 0.7, 1.4, 2]),
    "a scale too few": _attribute(scales=[0.5, 0.7, 1, 1.4]),
    "no scale of 1": _attribute(scales=[0.5, 0.7, 1.1, 1.4, 2]),
    "scales in words": _attribute(scales=["half", "0.7", "1", "1.4", "2"]),
    "no pixels": _attribute(px=0),
    "no size": _attribute(mpp=-1.0),
    "a size that is no number": _attribute(mpp="x"),
    "a section that is not there": _values("section", 3, 3),
    "a section below the first": _values("section", 3, -1),
    "a tile that is no number": _values("tiles", (1, 2, 3), np.nan),
    "a rest that is no number": _values("rest", (1, 2), np.inf),
    "a mean that is no number": _values("mean", 1, np.nan),
    "rests for other tiles": _shorter,
}


@pytest.mark.parametrize("how", BROKEN)
def test_parts_that_do_not_fit_are_refused(signed: Path, how: str) -> None:
    BROKEN[how](zarr.open_group(signed, mode="r+"))
    with pytest.raises(ReferenceError, match=r"s\.zarr: the arrays of its signature do not fit together"):
        open_bundle(signed).signature()
    failed = [check.name for check in verify(open_bundle(signed)) if not check.ok]
    assert "signature" in failed
    assert "content hash" in failed


def test_a_part_that_is_missing_is_named(signed: Path) -> None:
    del zarr.open_group(signed, mode="r+")["signature/basis"]
    with pytest.raises(ReferenceError, match="no array signature/basis"):
        open_bundle(signed).signature()


def test_a_basis_that_leans_fails_the_check(signed: Path) -> None:
    _values("basis", (slice(None), 0), 0.5)(zarr.open_group(signed, mode="r+"))
    told = {check.name: check.detail for check in verify(open_bundle(signed)) if not check.ok}
    assert told["signature"] == "the basis of the signature is no set of directions at right angles"


def test_a_grown_bundle_has_the_tiles_of_the_new_section(
    small_built: Built, small_sections: list[Section], tmp_path: Path
) -> None:
    made = [
        section(tmp_path / f"{seed}.png", tissue(seed, um=(300, 300)), 0.5, f"T{seed}") for seed in (0, 1, 2, 3)
    ]
    signature, _ = signature_or_why(made[:3], TileSpec(16, (64.0,)))
    write_bundle(tmp_path / "s.zarr", small_built.info, replace(small_built.arrays, signature=signature))
    more = replace(
        small_sections[0], id="more", sha256="more", image=made[3].image, mpp=0.5, xy_l0=made[3].xy_l0[:1]
    )
    first = replace(more, counts=more.counts[:1, ::-1], barcodes=more.barcodes[:1])
    base = open_bundle(tmp_path / "s.zarr")
    grown = grow_reference(base, [first], device="cpu").arrays.signature
    assert signature is not None and grown is not None
    assert grown.section.tolist() == [*signature.section.tolist(), 3]
    np.testing.assert_array_equal(grown.tiles[:, :-1], signature.tiles)
