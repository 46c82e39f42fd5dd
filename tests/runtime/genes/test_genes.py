"""Gene names: Ensembl versions, duplicates, and what sections have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.errors import ReferenceError
from bleep_cli.genes.names import (
    is_ensembl,
    join_genes,
    plain_names,
    strip_version,
    sum_duplicates,
    unique_symbols,
)
from bleep_cli.types import Section, Str


def strings(*values: str) -> Str:
    return np.array(values, dtype=str)


def section(name: str, symbols: Str, gene_ids: Str | None = None) -> Section:
    counts = sparse.csr_matrix(np.ones((1, len(symbols)), np.float32))
    ids = symbols if gene_ids is None else gene_ids
    return Section(name, "D", "", counts, symbols, ids, strings("s"), np.zeros((1, 2)), "", None)


@pytest.mark.parametrize(
    ("gene", "bare"),
    [
        ("ENSG00000141510.18", "ENSG00000141510"),
        ("ENSMUSG00000000001.4", "ENSMUSG00000000001"),
        ("ENSG00000141510", "ENSG00000141510"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378.15_PAR_Y"),
        ("FO538757.1", "FO538757.1"),  # a clone's name, not a version
        ("RP11-34P13.7", "RP11-34P13.7"),
        ("ENST00000269305.9", "ENST00000269305.9"),
        ("", ""),
    ],
)
def test_only_ensembl_gene_ids_lose_their_version(gene: str, bare: str) -> None:
    assert strip_version(gene) == bare


def test_is_ensembl_goes_by_the_majority() -> None:
    ids = ["ENSG00000141510", "ENSG00000141511.2"]
    assert is_ensembl(strings(*ids, "SPIKE"))
    assert not is_ensembl(strings(*ids, "TP53", "ERBB2"))
    assert not is_ensembl(strings())


def test_duplicates_are_added_up_in_order_of_first_appearance() -> None:
    counts = sparse.csr_matrix(np.array([[1, 2, 3, 4], [0, 5, 0, 6]], np.float32))
    merged, keys, first, count = sum_duplicates(counts, strings("b", "a", "c", "a"))
    assert keys.tolist() == ["b", "a", "c"]
    assert merged.toarray().tolist() == [[1, 6, 3], [0, 11, 0]]
    assert (first, count, merged.format) == ([0, 1, 2], 1, "csr")


def test_without_duplicates_nothing_is_touched() -> None:
    counts, keys = sparse.csr_matrix(np.eye(2, dtype=np.float32)), strings("a", "b")
    assert sum_duplicates(counts, keys) == (counts, keys, [0, 1], 0)


IDS = strings("ENSG00000000003", "ENSG00000000005", "ENSG00000000007")


def test_join_by_id_where_all_have_ids_whatever_the_symbols() -> None:
    a = section("a", strings("OLD1", "B", "C"), IDS)
    b = section("b", strings("C", "X", "NEW1"), strings(IDS[2], "ENSG00000000009", IDS[0]))
    table = join_genes([a, b])
    assert table.keys.tolist() == [IDS[0], IDS[2]]
    assert table.symbols.tolist() == ["OLD1", "C"]
    assert table.columns == {"a": [0, 2], "b": [2, 0]}
    assert tuple(map(str, table.findings)) == (
        "a: 1 of 3 genes are not in every section",
        "b: 1 of 3 genes are not in every section",
    )


def test_join_by_symbol_where_one_has_no_ids() -> None:
    a = section("a", strings("A", "B", "C"), IDS)
    b = section("b", strings("C", "A"))
    table = join_genes([a, b])
    assert table.keys.tolist() == table.symbols.tolist() == ["A", "C"]
    assert table.columns == {"a": [0, 2], "b": [1, 0]}
    assert tuple(map(str, table.findings)) == ("a: 1 of 3 genes are not in every section",)


def test_one_section_keeps_all_its_genes() -> None:
    table = join_genes([section("a", strings("A", "B", "C"), IDS)])
    assert (table.keys.tolist(), table.symbols.tolist(), table.findings) == (IDS.tolist(), ["A", "B", "C"], ())


def test_nothing_shared_is_an_error_that_shows_the_names() -> None:
    human, mouse = section("h", strings("TP53")), section("m", strings("Trp53"))
    with pytest.raises(ReferenceError, match=r"share no gene: h has TP53, \.\.\., m has Trp53"):
        join_genes([human, mouse])


def test_a_symbol_of_two_genes_is_told_apart_by_id() -> None:
    table = join_genes([section("a", strings("TBCE", "B", "TBCE"), IDS[[2, 1, 0]])])
    assert table.symbols.tolist() == [f"TBCE-{IDS[2]}", "B", "TBCE"]
    assert tuple(map(str, table.findings)) == ("1 duplicate symbol carries its gene id",)
    assert plain_names(table.symbols, table.keys).tolist() == [False, True, True]


def test_a_name_that_only_looks_like_one_with_its_id_is_plain() -> None:
    symbols = strings("HLA-A", "B", "C-C", "C")
    assert plain_names(symbols, strings("A", "B", "c", "C")).tolist() == [True] * 4
    assert plain_names(symbols, strings("A", "B", "C", "D")).tolist() == [True, True, False, True]


def test_which_gene_keeps_the_symbol_does_not_depend_on_the_order() -> None:
    forward, renamed = unique_symbols(strings("T", "T", "U"), IDS)
    backward, _ = unique_symbols(strings("U", "T", "T"), IDS[::-1])
    assert forward.tolist() == ["T", f"T-{IDS[1]}", "U"] == backward.tolist()[::-1]
    assert renamed == 1


def test_joining_does_not_change_the_sections() -> None:
    a = section("a", strings("A", "A"), IDS[:2])
    before = replace(a, symbols=a.symbols.copy())
    join_genes([a])
    assert a.symbols.tolist() == before.symbols.tolist()
