"""Growing a bundle: the same as building from all, or refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.grow import align_genes, grow_reference
from bleep_cli.reference.merge import merge_references
from bleep_cli.reference.parts import Built, described
from bleep_cli.types import Section

MakeEncoders = Callable[..., Encoders]
N_GENES = 24  # one of them is less than the twentieth that a newcomer may lack


@pytest.fixture(scope="module")
def sections(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return read_cohort(write_cohort(tmp_path_factory.mktemp("grow"), n_genes=N_GENES))


@pytest.fixture(scope="module")
def base_path(sections: list[Section], make_encoders: MakeEncoders, tmp_path_factory: Any) -> Path:
    built = build_reference(sections[:2], make_encoders(k=20, licence="CC0"), device="cpu")
    columns = {"heldout_r": np.linspace(0, 1, N_GENES, dtype=np.float32)}
    path = Path(tmp_path_factory.mktemp("base")) / "base.zarr"
    write_bundle(path, built.info, replace(built.arrays, gene_columns=columns))
    return path


@pytest.fixture
def base(base_path: Path) -> Bundle:
    return open_bundle(base_path)


def grow(base: Bundle, *sections: Section, **options: Any) -> Built:
    return grow_reference(base, sections, device="cpu", **options)


def columns_of(section: Section, columns: Any) -> Section:
    """The section with other columns of its table, in that order."""
    counts = sparse.csr_matrix(section.counts[:, columns])
    return replace(section, counts=counts, symbols=section.symbols[columns], gene_ids=section.gene_ids[columns])


# --- what it gives


def test_what_a_base_says_of_its_own_is_said_of_its_own_spots(
    sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    encoders = make_encoders(species="synthetic", intended_use="SYNTHETIC: for demonstration.")
    built = build_reference(sections[:2], encoders, device="cpu")
    write_bundle(tmp_path / "demo.zarr", built.info, built.arrays)
    grown = described(grow(open_bundle(tmp_path / "demo.zarr"), sections[2]), {"species": "Homo sapiens"})
    first, of_all = (sum(len(s.barcodes) for s in part) for part in (sections[:2], sections))
    what = f"{first} of {of_all} spots are of the base, which says of itself: SYNTHETIC: for demonstration."
    assert grown.info.intended_use == f"Research use only. Not for diagnostic use. {what}"
    assert grown.info.species == f"synthetic ({first} of {of_all} spots); Homo sapiens"
    (told,) = [f for f in grown.findings if f.severity == "warning"]
    assert (told.code, told.what) == ("base-of-other-use", what)


def test_a_plain_base_keeps_its_plain_words(base: Bundle, sections: list[Section]) -> None:
    grown = grow(base, sections[2])
    assert grown.info.intended_use == "Research use only. Not for diagnostic use."
    assert [f for f in grown.findings if f.severity == "warning"] == []


def test_growing_is_building_from_all(base: Bundle, sections: list[Section], make_encoders: MakeEncoders) -> None:
    whole = build_reference(sections, make_encoders(k=20, licence="CC0"), device="cpu")
    grown = grow(base, sections[2])
    for entry in fields(whole.arrays):
        found, wanted = getattr(grown.arrays, entry.name), getattr(whole.arrays, entry.name)
        if entry.name == "gene_columns":
            assert found == {}  # it was measured of other spots
        elif entry.name == "expression":
            np.testing.assert_array_equal(found[: found.shape[0]], wanted.toarray())
        elif entry.name.endswith("embeddings"):
            np.testing.assert_allclose(found, wanted, atol=1e-6)
        elif entry.name.endswith("tower"):
            assert found == wanted
        else:
            np.testing.assert_array_equal(found, wanted)
    assert [record.towers_saw_it for record in grown.info.sections] == [None, None, False]
    records = tuple(replace(record, towers_saw_it=None) for record in grown.info.sections)
    assert replace(grown.info, sections=records, parent_sha256="", findings=()) == replace(whole.info, findings=())
    assert grown.info.parent_sha256 == base.content_sha256


def test_what_is_written_passes_the_full_check_and_can_grow_again(
    base: Bundle, sections: list[Section], tmp_path: Path
) -> None:
    grown = grow(base, sections[2])
    write_bundle(tmp_path / "g.zarr", grown.info, grown.arrays)
    found = open_bundle(tmp_path / "g.zarr")
    assert [check for check in verify(found) if not check.ok] == []
    other = replace(sections[2], id="S3", sha256="another", counts=sections[2].counts[:, ::-1])
    assert grow(found, other).info.parent_sha256 == found.content_sha256


def test_the_base_stays_as_it_is(base: Bundle, base_path: Path, sections: list[Section]) -> None:
    before = {p: p.read_bytes() for p in base_path.rglob("*") if p.is_file()}
    grow(base, sections[2])
    assert {p: p.read_bytes() for p in base_path.rglob("*") if p.is_file()} == before


def test_two_sections_at_once_are_one_after_the_other(
    base: Bundle, sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    first = build_reference(sections[:1], make_encoders(), device="cpu")
    write_bundle(tmp_path / "one.zarr", first.info, first.arrays)
    calls: list[tuple[str, int, int]] = []
    grown = grow(open_bundle(tmp_path / "one.zarr"), sections[2], sections[1], progress=lambda *c: calls.append(c))
    assert [s.id for s in grown.info.sections] == ["S0", "S2", "S1"]
    assert grown.arrays.section.tolist() == [s.id for i in (0, 2, 1) for s in [sections[i]] for _ in s.barcodes]
    assert calls[-1] == ("spots", 168, 168)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["f16", "f32"])
def test_a_grown_bundle_keeps_the_precision_of_its_base(
    sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path, precision: str
) -> None:
    built = build_reference(sections[:1], make_encoders(expression_precision=precision), device="cpu")
    write_bundle(tmp_path / "a.zarr", built.info, built.arrays)
    grown = grow(open_bundle(tmp_path / "a.zarr"), sections[1])
    write_bundle(tmp_path / "b.zarr", grown.info, grown.arrays)
    found = open_bundle(tmp_path / "b.zarr")
    assert found.info.expression_precision == precision
    wanted = np.concatenate([log1p_normalise(s.counts).toarray() for s in sections[:2]])
    exact = wanted.astype(np.float16).astype(np.float32) if precision == "f16" else wanted
    np.testing.assert_array_equal(found.expression(None, 1 << 30), exact)


# --- genes


def test_genes_are_put_in_the_order_of_the_base(base: Bundle, sections: list[Section]) -> None:
    order = np.random.default_rng(0).permutation(N_GENES)
    plain = align_genes(sections[2], base).expression
    mixed = align_genes(columns_of(sections[2], order), base).expression
    np.testing.assert_allclose(mixed.toarray(), plain.toarray(), rtol=1e-6)
    np.testing.assert_allclose(plain.toarray(), log1p_normalise(sections[2].counts).toarray(), rtol=1e-6)


def test_further_genes_count_in_the_total_only(base: Bundle, sections: list[Section]) -> None:
    extra = sections[2].counts.sum(axis=1)  # as many molecules again, of a gene the base does not know
    counts = sparse.hstack([sparse.csr_matrix(extra), sections[2].counts], format="csr").astype(np.float32)
    names = (np.append("NEW", sections[2].symbols), np.append("ENSG00000000999", sections[2].gene_ids))
    found = align_genes(replace(sections[2], counts=counts, symbols=names[0], gene_ids=names[1]), base)
    assert found.expression.shape[1] == N_GENES and not found.absent.any()
    half = np.log1p(np.expm1(align_genes(sections[2], base).expression.toarray()) / 2)
    np.testing.assert_allclose(found.expression.toarray(), half, rtol=1e-4)


def test_a_lacking_gene_is_left_out_of_the_whole_and_noted(base: Bundle, sections: list[Section]) -> None:
    lacking = columns_of(sections[2], np.delete(np.arange(N_GENES), [14, 20]))
    grown, whole = grow(base, lacking).arrays, grow(base, sections[2]).arrays
    kept = np.delete(np.arange(N_GENES), [14, 20])
    np.testing.assert_array_equal(grown.symbols, base.symbols[kept])
    np.testing.assert_array_equal(grown.gene_ids, base.gene_ids[kept])
    np.testing.assert_array_equal(grown.symbols[grown.panel], base.symbols[base.panel])
    old = grown.section != "S2"
    np.testing.assert_array_equal(grown.expression[: len(old)][old], whole.expression[: len(old)][old][:, kept])
    (told,) = [f for f in grow(base, lacking).findings if f.code == "genes-dropped"]
    assert str(told) == (
        "2 of 24 genes of base.zarr left out, which not all new sections measure (GENE14, GENE20); genes base "
        "keeps them"
    )


def test_a_lacking_gene_counts_as_not_detected_where_asked(base: Bundle, sections: list[Section]) -> None:
    lacking = columns_of(sections[2], np.delete(np.arange(N_GENES), 20))
    grown = grow(base, lacking, genes="base")
    new = grown.arrays.section == "S2"
    expression = grown.arrays.expression[: len(new)]
    assert (expression[new, 20] == 0).all() and (expression[~new, 20] > 0).any()
    assert (expression[new][:, np.arange(N_GENES) != 20] > 0).any(axis=0).all()
    assert "S2: 1 gene is not in its table and counts as not detected" in map(str, grown.findings)


def test_too_many_lacking_genes_are_refused(base: Bundle, sections: list[Section]) -> None:
    lacking = columns_of(sections[2], np.delete(np.arange(N_GENES), [3, 4]))
    with pytest.raises(
        ReferenceError, match=r"S2 lacks 2 of the 12 genes of the panel of base\.zarr .*GENE3, GENE4"
    ):
        grow(base, lacking)
    with pytest.raises(ReferenceError, match=r"S2 lacks 2 of the 24 genes of base\.zarr .* with genes shared, or"):
        grow(base, lacking, genes="base")
    few = columns_of(sections[2], np.arange(12))
    grown = grow(base, columns_of(sections[2], np.arange(13)))
    assert grown.arrays.symbols.tolist() == base.symbols[:13].tolist()
    grow(base, few)  # half of them are the panel
    short = np.append(np.arange(11), 12)  # 11 of the panel
    with pytest.raises(ReferenceError, match=r"lacks 1 of the 12 genes of the panel"):
        grow(base, columns_of(sections[2], short))


def test_genes_are_found_by_id_then_by_symbol(
    sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    built = build_reference(sections[2:], make_encoders(), device="cpu")  # with ids
    write_bundle(tmp_path / "ids.zarr", built.info, built.arrays)
    base = open_bundle(tmp_path / "ids.zarr")
    renamed = replace(sections[2], symbols=np.array([f"NEW{i}" for i in range(N_GENES)]))
    for section in (sections[0], renamed):  # symbols alone; ids with other symbols
        found = align_genes(section, base)
        np.testing.assert_allclose(
            found.expression.toarray(), log1p_normalise(section.counts).toarray(), rtol=1e-6
        )
        assert not found.absent.any()


def test_of_two_genes_of_one_symbol_the_first_is_taken_as_when_building(
    base: Bundle, sections: list[Section], make_encoders: MakeEncoders
) -> None:
    symbols = sections[2].symbols.copy()
    symbols[23] = "GENE0"
    double = replace(sections[2], symbols=symbols)
    whole = build_reference([sections[0], double], make_encoders(), device="cpu").arrays
    aligned = align_genes(double, base).expression
    np.testing.assert_allclose(
        aligned[:, [0]].toarray(), whole.expression[whole.section == "S2"][:, [0]].toarray(), rtol=2**-11
    )


# --- what is refused


def test_a_section_that_is_in_is_refused_under_any_name(base: Bundle, sections: list[Section]) -> None:
    with pytest.raises(ReferenceError, match=r"^section S0 is already in base\.zarr \(as S0\)$"):
        grow(base, sections[0])
    with pytest.raises(ReferenceError, match=r"^section new is already in base\.zarr \(as S1\)$"):
        grow(base, sections[2], replace(sections[1], id="new", donor="x", image=sections[2].image))
    with pytest.raises(ReferenceError, match=r"^section new is already in the cohort \(as S2\)$"):
        grow(base, sections[2], replace(sections[2], id="new"))


def test_another_section_of_a_known_name_is_refused(base: Bundle, sections: list[Section]) -> None:
    with pytest.raises(ReferenceError, match=r"base\.zarr has other sections named S1; rename the new ones"):
        grow(base, replace(sections[2], id="S1"))


def test_newcomers_to_batch_corrected_towers_are_looked_up_by_their_tiles(
    sections: list[Section], make_encoders: MakeEncoders, tmp_path: Path
) -> None:
    given = np.random.default_rng(0).random((len(sections[0].barcodes), 12), np.float32)
    built = build_reference(sections[:1], make_encoders(), device="cpu", tower_input=given)
    write_bundle(tmp_path / "h.zarr", built.info, built.arrays)
    base = open_bundle(tmp_path / "h.zarr")
    grown = grow(base, sections[2])
    assert (base.info.key, grown.info.key, grown.info.tower_input) == ("expression", "image", "harmony")
    (told,) = [f for f in grown.findings if f.severity == "warning"]
    assert told.code == "towers-batch-corrected" and "1 new section (S2) cannot have" in told.what
    write_bundle(tmp_path / "g.zarr", grown.info, grown.arrays)
    bundle = open_bundle(tmp_path / "g.zarr")
    assert [check for check in verify(bundle) if not check.ok] == []
    other = build_reference(sections[1:2], make_encoders(), device="cpu", tower_input=given)
    write_bundle(tmp_path / "o.zarr", other.info, other.arrays)
    for order in (["o.zarr", "g.zarr"], ["g.zarr", "o.zarr"]):
        assert merge_references([tmp_path / name for name in order]).info.key == "image"
