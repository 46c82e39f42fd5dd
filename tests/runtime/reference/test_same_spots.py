"""A section that is in a reference is known by what was measured, however its table was changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.grow import grow_reference
from bleep_cli.reference.same_spots import profiles, repeated
from bleep_cli.types import Section


@pytest.fixture
def base(small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path: Path) -> Bundle:
    built = build_reference(small_sections[:2], make_encoders(), device="cpu")
    write_bundle(tmp_path / "base.zarr", built.info, built.arrays)
    return open_bundle(tmp_path / "base.zarr")


def disguised(section: Section, rows: np.ndarray) -> Section:
    """Some of its spots, under other names, from a table with a gene more."""
    counts = section.counts[rows]
    extra = sparse.csr_matrix(np.full((len(rows), 1), 500, np.float32))
    return replace(
        section,
        id="new",
        donor="someone",
        sha256="of another table",
        counts=sparse.hstack([counts, extra], format="csr"),
        symbols=np.append(section.symbols, "EXTRA"),
        gene_ids=np.append(section.gene_ids, "EXTRA"),
        barcodes=np.array([f"b{i}" for i in range(len(rows))]),
        xy_l0=section.xy_l0[rows] + 2,
    )


def test_another_table_of_the_same_spots_is_refused(base: Bundle, small_sections: list[Section]) -> None:
    some = np.random.default_rng(0).permutation(len(small_sections[1].barcodes))[:30]
    with pytest.raises(
        ReferenceError,
        match=r"^section new is already in base\.zarr: 30 of its 30 spots .* \(most as S1\); .* remove S1",
    ):
        grow_reference(base, [disguised(small_sections[1], some)], device="cpu")


def test_a_tenth_of_known_spots_is_enough_and_less_is_chance(small_sections: list[Section]) -> None:
    rng = np.random.default_rng(1)
    panel = np.log1p(rng.poisson(30, (100, 20))).astype(np.float32)
    other = np.log1p(rng.poisson(30, (100, 20))).astype(np.float32)
    measured, names = np.ones(20, bool), np.repeat(["A", "B"], 50)
    known = profiles(panel, measured)
    assert repeated(profiles(other, measured), known, names) is None
    assert repeated(profiles(np.concatenate([other[:91], panel[:9]]), measured), known, names) is None
    mixed = np.concatenate([other[:90], panel[45:55]])
    found = repeated(profiles(mixed, measured), known, names)
    assert found is not None and (found.spots, found.of) == (10, 100)


def test_the_total_of_a_spot_does_not_matter_and_float16_does_not() -> None:
    counts = np.random.default_rng(2).poisson(8, (40, 60)).astype(np.float32)
    stored = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4).astype(np.float16).astype(np.float32)
    diluted = np.log1p(counts / (2 * counts.sum(axis=1, keepdims=True)) * 1e4)
    found = repeated(profiles(diluted, np.ones(60, bool)), profiles(stored, np.ones(60, bool)), np.full(40, "S"))
    assert found is not None and found == ("S", 40, 40)


def test_spots_of_few_genes_tell_nothing() -> None:
    one = np.zeros((5, 60), np.float32)
    one[:, :9] = 1.0
    assert not profiles(one, np.ones(60, bool))
    one[:, 9] = 1.0
    assert len(profiles(one, np.ones(60, bool))) == 1
    assert not profiles(one, np.arange(60) != 4)  # a gene that the other side does not measure


def test_other_measurements_of_the_same_place_are_welcome(base: Bundle, small_sections: list[Section]) -> None:
    rng = np.random.default_rng(3)
    redrawn = sparse.csr_matrix(rng.poisson(small_sections[1].counts.toarray()).astype(np.float32))
    again = replace(small_sections[1], id="again", sha256="again", counts=redrawn)
    assert grow_reference(base, [again], device="cpu").info.sections[2].id == "again"
