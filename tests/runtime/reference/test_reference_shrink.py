"""Sections and genes left out of a bundle; what was added is removed again, value by value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError
from bleep_cli.findings import Finding
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.choose import shrink_reference
from bleep_cli.reference.grow import grow_reference
from bleep_cli.reference.parts import Built
from bleep_cli.types import Section

N_GENES = 24
MakeEncoders = Callable[..., Encoders]


@pytest.fixture(scope="module")
def sections(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return read_cohort(write_cohort(tmp_path_factory.mktemp("shrink"), n_genes=N_GENES))


@pytest.fixture(scope="module")
def paths(sections: list[Section], make_encoders: MakeEncoders, tmp_path_factory: Any) -> dict[str, Path]:
    """``two.zarr`` of the first sections, corrected, and ``three.zarr`` with the third added."""
    folder = Path(tmp_path_factory.mktemp("bundles"))
    noted = replace(sections[1], findings=(Finding("spots-empty", "2 spots", "S1"),))
    built = build_reference([sections[0], noted], make_encoders(k=20, aggregation="corrected"), device="cpu")
    columns = {"mean_of_all": np.arange(N_GENES, dtype=np.float32)}
    found = {
        "two": written(replace(built, arrays=replace(built.arrays, gene_columns=columns)), folder / "two.zarr")
    }
    grown = grow_reference(open_bundle(found["two"]), sections[2:], device="cpu")
    return found | {"three": written(grown, folder / "three.zarr")}


def written(built: Built, path: Path) -> Path:
    write_bundle(path, built.info, built.arrays)
    return path


def chunks(path: Path) -> dict[str, bytes]:
    """Every file of a bundle but its attributes, the numbers per gene that growing drops, and the slope, which is
    computed anew and of sparse rows is another in the last digit."""
    files = (file for file in path.rglob("*") if file.is_file())
    names = {file.relative_to(path).as_posix(): file.read_bytes() for file in files}
    return {name: data for name, data in names.items() if not re.match(r"zarr.json|genes/mean_of_all|slope", name)}


def test_what_is_added_and_removed_is_as_if_never_added(paths: dict[str, Path], tmp_path: Path) -> None:
    before, grown = open_bundle(paths["two"]), open_bundle(paths["three"])
    back = shrink_reference(grown, without_donors=["DS2"])
    after = open_bundle(written(back, tmp_path / "back.zarr"))
    assert chunks(tmp_path / "back.zarr") == chunks(paths["two"])
    every = np.arange(N_GENES)
    np.testing.assert_allclose(after.slope(every), before.slope(every), atol=1e-5)
    (told,) = [f for f in after.info.findings if f.code == "sections-left-out"]
    assert str(told) == "1 section (S2) of three.zarr left out"
    rest = tuple(f for f in after.info.findings if f is not told)
    assert replace(after.info, parent_sha256="", findings=rest) == before.info
    assert after.info.parent_sha256 == grown.content_sha256
    assert [check for check in verify(after) if not check.ok] == []


def test_removing_a_section_keeps_the_others_in_their_order(paths: dict[str, Path], tmp_path: Path) -> None:
    whole = open_bundle(paths["three"])
    left = open_bundle(written(shrink_reference(whole, without_sections=["S1"]), tmp_path / "left.zarr"))
    rows = np.flatnonzero(whole.spots("section") != "S1")
    assert [record.id for record in left.info.sections] == ["S0", "S2"]
    for column in ("section", "barcode", "donor"):
        np.testing.assert_array_equal(left.spots(column), whole.spots(column)[rows])
    np.testing.assert_array_equal(left.xy_l0(), whole.xy_l0()[rows])
    np.testing.assert_array_equal(left.embeddings("image"), whole.embeddings("image")[rows])
    np.testing.assert_array_equal(left.embeddings("expression"), whole.embeddings("expression")[rows])
    np.testing.assert_array_equal(left.expression(None, 1 << 30), whole.expression(None, 1 << 30)[rows])
    assert [check for check in verify(left) if not check.ok] == []  # the slope is that of these spots
    assert not [f for f in left.info.findings if f.where == "S1"]


def test_one_donor_that_is_left_is_warned_of_until_another_is_added(
    paths: dict[str, Path], sections: list[Section], tmp_path: Path
) -> None:
    alone = shrink_reference(open_bundle(paths["three"]), donors=["DS0"])
    (told,) = [f for f in alone.findings if f.code == "spots-one-donor"]
    assert (told.severity, told.what) == ("warning", "all spots are of one donor (DS0)")
    bundle = open_bundle(written(alone, tmp_path / "alone.zarr"))
    two = grow_reference(bundle, sections[1:2], device="cpu")
    assert not [f for f in two.findings if f.code == "spots-one-donor"]
    again = grow_reference(bundle, [replace(sections[1], donor="DS0")], device="cpu")
    assert len([f for f in again.findings if f.code == "spots-one-donor"]) == 1


def test_genes_are_kept_with_the_panel(paths: dict[str, Path], tmp_path: Path) -> None:
    whole = open_bundle(paths["two"])
    left = open_bundle(written(shrink_reference(whole, genes=["GENE20", "GENE3"]), tmp_path / "few.zarr"))
    wanted = [f"GENE{i}" for i in (*range(12), 20)]
    assert left.symbols.tolist() == wanted
    assert left.symbols[left.panel].tolist() == whole.symbols[whole.panel].tolist()
    columns = whole.gene_rows(wanted)
    np.testing.assert_array_equal(left.expression(None, 1 << 30), whole.expression(columns, 1 << 30))
    np.testing.assert_allclose(left.slope(np.arange(13)), whole.slope(columns), atol=1e-5)
    assert left.gene_columns()["mean_of_all"].tolist() == [*range(12), 20]
    told = left.info.findings[-1]
    assert str(told) == "13 of 24 genes: 2 that were asked for, and 11 more that the towers need"
    assert [check for check in verify(left) if not check.ok] == []


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"without_donors": ["DS7"]}, r"donor: DS7 not in three\.zarr"),
        ({"without_sections": ["s0"]}, r"section: s0 not in three\.zarr; did you mean S0"),
        ({"donors": ["DS0", "X"]}, r"donors: X not in three\.zarr"),
        ({"genes": ["NOGENE"]}, r"genes: NOGENE not in three\.zarr"),
        ({"without_donors": ["DS0", "DS1", "DS2"]}, r"no section of three\.zarr would be left"),
        ({"donors": ["DS0"], "without_sections": ["S0"]}, r"no section of three\.zarr would be left"),
        ({}, r"nothing is named to leave out of three\.zarr"),
    ],
)
def test_what_cannot_be_left_out_is_said(paths: dict[str, Path], named: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        shrink_reference(open_bundle(paths["three"]), **named)
