"""Bundles of one pair of towers become one: what building from all of their sections gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.grow import grow_reference
from bleep_cli.reference.merge import merge_references
from bleep_cli.reference.parts import Built
from bleep_cli.types import Section

N_GENES = 24
MakeEncoders = Callable[..., Encoders]


@pytest.fixture(scope="module")
def sections(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return read_cohort(write_cohort(tmp_path_factory.mktemp("merge"), n_genes=N_GENES))


@pytest.fixture
def bundle_of(make_encoders: MakeEncoders, tmp_path: Path) -> Callable[..., Bundle]:
    """A bundle of some sections under a name."""

    def make(name: str, sections: Sequence[Section], **info: Any) -> Bundle:
        return written(build_reference(sections, make_encoders(**info), device="cpu"), tmp_path / f"{name}.zarr")

    return make


def written(built: Built, path: Path) -> Bundle:
    write_bundle(path, built.info, built.arrays)
    return open_bundle(path)


def test_merging_is_building_from_all(
    sections: list[Section], bundle_of: Callable[..., Bundle], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    info = {"k": 20, "aggregation": "corrected"}
    parts = [bundle_of("a", sections[:2], **info), bundle_of("b", sections[2:], **info)]
    merged, whole = merge_references(parts), build_reference(sections, make_encoders(**info), device="cpu")
    for entry in fields(whole.arrays):
        found, wanted = getattr(merged.arrays, entry.name), getattr(whole.arrays, entry.name)
        if entry.name == "expression":
            np.testing.assert_array_equal(found[: found.shape[0]], wanted.toarray())
        elif entry.name.endswith("embeddings"):
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        elif isinstance(wanted, np.ndarray):
            np.testing.assert_array_equal(found, wanted)
        else:
            assert found == wanted
    assert merged.info.sections == whole.info.sections
    assert (merged.info.k, merged.info.aggregation) == (20, "corrected")
    bundle = written(merged, tmp_path / "merged.zarr")
    assert bundle.info.parent_sha256 == parts[0].content_sha256
    assert bundle.info.merged_sha256 == (parts[1].content_sha256,)
    assert [check for check in verify(bundle) if not check.ok] == []
    of_all = written(whole, tmp_path / "whole.zarr")
    np.testing.assert_allclose(bundle.slope(np.arange(24)), of_all.slope(np.arange(24)), atol=1e-5)


def test_two_that_grew_from_one_have_its_sections_once(
    sections: list[Section], bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    base = bundle_of("base", sections[:1], licence="CC0")
    left = written(grow_reference(base, sections[1:2], device="cpu"), tmp_path / "left.zarr")
    right = written(grow_reference(base, sections[2:], device="cpu"), tmp_path / "right.zarr")
    merged = merge_references([left, right])
    one_by_one = grow_reference(left, sections[2:], device="cpu")
    assert merged.info.sections == one_by_one.info.sections
    np.testing.assert_array_equal(merged.arrays.barcode, one_by_one.arrays.barcode)
    np.testing.assert_array_equal(merged.arrays.image_embeddings, one_by_one.arrays.image_embeddings)
    assert "right.zarr: 1 section (S0) that those before it have taken once" in map(str, merged.findings)
    assert merged.info.licence == "CC0"


def test_genes_that_not_all_hold_are_left_out(
    sections: list[Section], bundle_of: Callable[..., Bundle], tmp_path: Path
) -> None:
    order = [*range(13, 18), *range(13), *range(19, 24)]  # without GENE18, and in another order
    few = replace(
        sections[2],
        counts=sections[2].counts[:, order],
        symbols=sections[2].symbols[order],
        gene_ids=sections[2].gene_ids[order],
    )
    a, b = bundle_of("a", sections[:2]), bundle_of("b", [few])
    merged = merge_references([a, b])
    kept = np.delete(np.arange(24), 18)
    assert merged.arrays.symbols.tolist() == a.symbols[kept].tolist()
    assert merged.arrays.symbols[merged.arrays.panel].tolist() == a.symbols[a.panel].tolist()
    whole = np.concatenate([a.expression(kept, 1 << 30), b.expression(b.gene_rows(a.symbols[kept]), 1 << 30)])
    np.testing.assert_array_equal(merged.arrays.expression[: len(whole)], whole)
    told = [str(f) for f in merged.findings if f.code == "genes-dropped"]
    assert told == ["a.zarr: 1 of 24 genes left out, which not all of the others hold"]
    assert [check for check in verify(written(merged, tmp_path / "m.zarr")) if not check.ok] == []


def test_what_the_parts_say_is_kept(sections: list[Section], bundle_of: Callable[..., Bundle]) -> None:
    a = bundle_of("a", sections[:1], licence="CC0", k=7, intended_use="For one thing.")
    b = bundle_of("b", [replace(sections[1], donor="DS0")], licence="MIT", k=9, intended_use="For another.")
    merged = merge_references([a, b])
    info = merged.info
    assert (info.k, info.licence, info.intended_use) == (7, "CC0; MIT", "For one thing. For another.")
    told = {f.code: str(f) for f in merged.findings}
    assert told["settings-of-first"] == "k as in a.zarr; the others differ"
    assert told["donor-shared"] == (
        "b.zarr: donors of one name (DS0) are taken for the same as in those before it"
    )
    assert told["spots-one-donor"] == "all spots are of one donor (DS0); add sections of other donors"


def test_other_towers_are_refused_with_the_way_out(
    sections: list[Section], bundle_of: Callable[..., Bundle], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    a = bundle_of("a", sections[:1])
    other = replace(make_encoders(), expression=make_encoders().expression + b"\0")
    built = build_reference(sections[1:2], make_encoders(), device="cpu")
    arrays = replace(built.arrays, expression_tower=other.expression)
    b = written(replace(built, arrays=arrays), tmp_path / "b.zarr")
    with pytest.raises(
        ReferenceError,
        match=r"^b\.zarr has another expression tower than a\.zarr, so that .* bleep reference add, or .*"
        "bleep build-reference",
    ):
        merge_references([a, b])
    with pytest.raises(ReferenceError, match=r"^c\.zarr has other views of each tile than a\.zarr \(1, not 8\)"):
        merge_references([a, bundle_of("c", sections[1:2], views=1)])
    with pytest.raises(UsageError, match="two bundles or more"):
        merge_references([a])


def test_sections_that_cannot_stand_beside_each_other_are_refused(
    sections: list[Section], bundle_of: Callable[..., Bundle]
) -> None:
    a = bundle_of("a", sections[:2])
    renamed = bundle_of("b", [replace(sections[2], id="S1")])
    with pytest.raises(ReferenceError, match=r"b\.zarr and a\.zarr have different sections named S1; remove one"):
        merge_references([a, renamed])
    twin = bundle_of("c", [sections[2], replace(sections[0], id="other", donor="X")])
    with pytest.raises(
        ReferenceError, match=r"section other of c\.zarr is section S0 of a\.zarr; remove one of them"
    ):
        merge_references([a, twin])
    disguised = bundle_of(
        "d", [replace(sections[0], id="other", donor="X", sha256="1", xy_l0=sections[0].xy_l0 + 1)]
    )
    with pytest.raises(ReferenceError, match=r"section other of d\.zarr is section S0 of a\.zarr"):
        merge_references([a, disguised])
