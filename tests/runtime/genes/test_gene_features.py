"""Which columns of a table are genes, of which genome, and how they are called."""

from __future__ import annotations

import numpy as np
import pytest

from bleep_cli.errors import ReferenceError
from bleep_cli.genes.features import Features, genes_of
from bleep_cli.types import Str


def strings(*values: str) -> Str:
    return np.array(values, dtype=str)


def only_symbols(*names: str) -> Features:
    return Features(strings(*names), strings(*names))


NO_GENES = [
    *("BLANK_0001", "Blank-1", "blank", "Blank2", "NegControlProbe_00042", "NegControlCodeword_0500", "NegPrb3"),
    *(
        "NegProbe-WTX",
        "Negative1",
        "Negative control 7",
        "SystemControl12",
        "antisense_PROKR2",
        "Intergenic_Region_1",
    ),
    *("DEPRECATED_ENSG00000130538", "DeprecatedCodeword_0321", "Unassigned", "UnassignedCodeword_0001"),
    *(
        "GenomicControlProbe_1",
        "FalseCode5",
        "ERCC-00002",
        "__no_feature",
        "N_unmapped",
        "CD3_TotalSeqB",
        "Hashtag1",
    ),
]
GENES = [
    *("ERCC1", "NEGR1", "HOXA-AS2", "DEPP1", "DEPTOR", "BLNK", "INTS1", "CMOS", "CMO", "ADTRP", "HTOR", "FALZ"),
    *("H2-Ab1", "MT-CO1", "RP11-34P13.7", "FO538757.1", "GRCC1", "HG2", "MM1", "NAN", "NALCN"),
]


@pytest.mark.parametrize("name", NO_GENES)
def test_names_of_what_is_no_gene(name: str) -> None:
    found = genes_of(only_symbols("TP53", name))
    assert found.columns.tolist() == [0]
    assert [finding.code for finding in found.findings] == ["features-no-genes"]
    assert genes_of(Features(strings("TP53", "GRCh38_X"), strings("TP53", name))).columns.tolist() == [0]


@pytest.mark.parametrize("name", GENES)
def test_names_of_genes_that_only_look_like_it(name: str) -> None:
    found = genes_of(Features(strings("ENSG00000000001", "ENSG00000000002"), strings("TP53", name)))
    assert found.columns.tolist() == [0, 1]
    assert found.symbols.tolist() == ["TP53", name if name != "NAN" else "ENSG00000000002"]


def test_stated_types_are_counted_by_their_names() -> None:
    types = strings("Gene Expression", "Antibody Capture", "Antibody Capture", "CRISPR Guide Capture", "Custom")
    named = strings("A", "CD3", "CD8", "g1", "tag")
    found = genes_of(Features(named, named, types))
    assert found.columns.tolist() == [0]
    assert found.findings[0].what == (
        "4 features are no genes (2 Antibody Capture, 1 CRISPR Guide Capture, 1 Custom)"
    )


def test_a_column_of_biotypes_drops_no_gene() -> None:
    named = strings("A", "B", "C", "D")
    types = strings("protein_coding", "lncRNA", "nan", "spike-in")
    assert genes_of(Features(named, named, types)).columns.tolist() == [0, 1, 2]
    of_multiome = strings("GEX", "GEX", "ATAC", "Peaks")
    assert genes_of(Features(named, named, of_multiome)).columns.tolist() == [0, 1]


def test_a_table_without_genes_is_refused_with_what_is_in_it() -> None:
    named = strings("CD3", "CD8")
    with pytest.raises(ReferenceError, match=r"none of its 2 features is a gene \(2 Antibody Capture\)"):
        genes_of(Features(named, named, strings("Antibody Capture", "Antibody Capture")))


@pytest.mark.parametrize("missing", ["NA", "nan", "NaN", "", "None", "NULL", "<NA>", "N/A", " "])
def test_the_id_stands_in_for_a_symbol_that_is_missing(missing: str) -> None:
    ids = strings("ENSG00000000001.3", "ENSG00000000002", "ENSG00000000003")
    found = genes_of(Features(ids, strings("A", missing, missing)))
    assert found.symbols.tolist() == ["A", "ENSG00000000002", "ENSG00000000003"]
    assert found.findings[0].what == "2 genes without a symbol carry their id"
    by_symbol = genes_of(Features(strings(ids[0], missing, missing), strings("A", "B", "C")))
    assert by_symbol.ids.tolist() == [ids[0], "B", "C"]  # nor are genes without an id added up as one


def test_a_column_without_any_name_is_left_out() -> None:
    found = genes_of(only_symbols("A", "", "NA"))
    assert found.symbols.tolist() == ["A", "NA"]
    assert found.findings[0].what == "1 features are no genes (1 without a name)"


@pytest.mark.parametrize(
    "prefix",
    ["GRCh38_", "GRCh38______", "hg19_", "mm10___", "GRCm39_", "GRCh38-2020-A_", "T2T-CHM13_", "Rnor_6.0_"],
)
def test_the_genomes_name_is_taken_off(prefix: str) -> None:
    ids = strings(*(f"{prefix}ENSG0000000000{i}.1" for i in range(3)))
    found = genes_of(Features(ids, strings(*(f"{prefix}{s}" for s in ("A", "B_1", "NA")))))
    assert found.ids.tolist() == [f"ENSG0000000000{i}.1" for i in range(3)]
    assert found.symbols.tolist() == ["A", "B_1", "ENSG00000000002.1"]
    assert [f.code for f in found.findings] == ["genome-prefix", "symbols-missing"]
    assert prefix.rstrip("_") in found.findings[0].what
    mixed = genes_of(Features(strings("ENSG00000000001", "ENSG00000000002"), strings(f"{prefix}A", f"{prefix}B")))
    assert mixed.symbols.tolist() == ["A", "B"]


BARNYARD = Features(
    strings("GRCh38_ENSG00000000001", "mm10___ENSMUSG00000000001", "GRCh38_ENSG00000000002"),
    strings("GRCh38_TP53", "mm10___Trp53", "GRCh38_MYC"),
)


def test_genes_of_two_species_are_asked_for_and_picked() -> None:
    with pytest.raises(ReferenceError, match=r'of 2 genomes, GRCh38, mm10; pick one with genome = "GRCh38"'):
        genes_of(BARNYARD)
    human, mouse = (genes_of(BARNYARD, genome) for genome in ("GRCh38", "MM10"))
    assert (human.symbols.tolist(), mouse.symbols.tolist()) == (["TP53", "MYC"], ["Trp53"])
    assert human.columns.tolist() == [0, 2]
    assert human.findings[0].what == "1 genes of other genomes than GRCh38 were left out"
    with pytest.raises(ReferenceError, match="no gene is of genome hg19; it has GRCh38, mm10"):
        genes_of(BARNYARD, "hg19")


def test_two_species_without_a_prefix_are_told_by_a_column_or_by_their_ids() -> None:
    ids, symbols = strings("ENSG00000000001", "ENSMUSG00000000001"), strings("TP53", "Trp53")
    stated = Features(ids, symbols, None, strings("GRCh38", "GRCm39"))
    assert genes_of(stated, "GRCm39").symbols.tolist() == ["Trp53"]
    with pytest.raises(ReferenceError, match="of 2 genomes, GRCh38, GRCm39"):
        genes_of(stated)
    with pytest.raises(ReferenceError, match="of 2 genomes, ENSG, ENSMUSG"):
        genes_of(Features(ids, symbols))
    assert genes_of(Features(ids, symbols), "ENSG").symbols.tolist() == ["TP53"]
    with pytest.raises(ReferenceError, match="do not say of which genome"):
        genes_of(only_symbols("TP53", "MYC"), "GRCh38")


def test_antibodies_are_of_no_genome_and_a_reporter_makes_no_second_species() -> None:
    names = [f"G{i}" for i in range(200)]
    features = Features(
        strings(*names, "eGFP", "CD3"),
        strings(*names, "eGFP", "CD3"),
        strings(*["Gene Expression"] * 201, "Antibody Capture"),
        strings(*["GRCh38"] * 200, "reporter", ""),
    )
    assert genes_of(features).columns.tolist() == list(range(201))
    assert genes_of(features, "GRCh38").columns.tolist() == list(range(200))
