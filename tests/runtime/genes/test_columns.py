"""Which column of a section serves a gene of a reference: one answer for building, growing and evaluating."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.genes.columns import gene_columns, measured_log1p
from bleep_cli.genes.names import join_genes, symbol_columns
from bleep_cli.types import Section

IDS = np.array(["ENSG00000000009", "ENSG00000000003.2", "ENSG00000000005"])
SYMBOLS = np.array(["MATR3", "MATR3", "TP53"])


@pytest.fixture
def section() -> Section:
    counts = sparse.csr_matrix(np.array([[1, 8, 1], [5, 2, 3]], np.float32))
    return Section("S", "D", "", counts, SYMBOLS, IDS, np.array(["a", "b"]), np.zeros((2, 2)), "", None)


def test_a_gene_is_found_by_its_id_whatever_its_version(section: Section) -> None:
    ids = np.array(["ENSG00000000003", "ENSG00000000009.7", "ENSG00000000099"])
    assert gene_columns(section, np.array(["X", "Y", "Z"]), ids).tolist() == [1, 0, -1]


def test_of_two_columns_of_one_symbol_it_is_the_one_that_keeps_the_plain_name(section: Section) -> None:
    """The gene of the smallest id, whatever the order of the table: growing and evaluating look up what building
    named."""
    reference = np.array(["MATR3", "TP53"])
    assert gene_columns(section, reference, reference).tolist() == [1, 2]
    assert symbol_columns(SYMBOLS, IDS) == {"MATR3": 1, "TP53": 2}
    turned = replace(section, symbols=SYMBOLS[::-1], gene_ids=IDS[::-1], counts=section.counts[:, ::-1])
    assert gene_columns(turned, reference, reference).tolist() == [1, 0]
    measured = [measured_log1p(s, reference, reference, 1e4) for s in (section, turned)]
    np.testing.assert_array_equal(*measured)
    np.testing.assert_allclose(measured[0][:, 0], np.log1p([8000, 2000]), rtol=1e-6)


def test_building_takes_the_same_column(section: Section) -> None:
    without_ids = replace(section, id="T", gene_ids=SYMBOLS, sha256="t")
    table = join_genes([section, without_ids])
    reference = np.array(["MATR3"])
    assert (
        table.columns["S"][list(table.keys).index("MATR3")] == gene_columns(section, reference, reference)[0] == 1
    )


def test_a_column_that_is_another_gene_by_its_id_does_not_serve_a_symbol(section: Section) -> None:
    """Of two genes of one symbol a section may have one: it does not stand for both."""
    reference = np.array(["MATR3", "MATR3-ENSG00000000009"]), np.array(["ENSG00000000003", "ENSG00000000009"])
    only = replace(section, symbols=SYMBOLS[[0, 2]], gene_ids=IDS[[0, 2]], counts=section.counts[:, [0, 2]])
    assert gene_columns(only, *reference).tolist() == [-1, 0]
    assert gene_columns(section, *reference).tolist() == [1, 0]
    retired = np.array(["TP53"]), np.array(["ENSG00000000444"])  # an id of another annotation: by symbol
    assert gene_columns(only, *retired).tolist() == [1]


def test_a_table_of_symbols_only_takes_the_first(section: Section) -> None:
    plain = replace(section, gene_ids=SYMBOLS)
    assert gene_columns(plain, np.array(["MATR3"]), np.array(["ENSG00000000003"])).tolist() == [0]
