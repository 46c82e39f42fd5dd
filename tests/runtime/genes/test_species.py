"""Which species genes are of, by their ids or the case of their symbols."""

import numpy as np
import pytest

from bleep_cli.genes.species import guessed_species


@pytest.mark.parametrize(
    ("ids", "symbols", "species"),
    [
        (["ENSG00000141510", "ENSG00000012048"], ["TP53", "BRCA1"], "Homo sapiens"),
        (["ENSMUSG00000059552"], ["Trp53"], "Mus musculus"),
        (["ENSRNOG00000010756"], ["Tp53"], "Rattus norvegicus"),
        (["ENSMUSG00000059552"], ["TP53"], "Mus musculus"),  # ids go before symbols
        (["TP53", "BRCA1", "C1orf112"], ["TP53", "BRCA1", "C1orf112"], ""),  # two of three are too few
        (["TP53", "BRCA1", "A2M", "C1orf112"], ["TP53", "BRCA1", "A2M", "C1orf112"], "Homo sapiens"),
        (["Trp53", "Brca1", "A2m"], ["Trp53", "Brca1", "A2m"], "Mus musculus or Rattus norvegicus"),
        (["tp53", "brca1"], ["tp53", "brca1"], ""),
        (["FBgn0039044"], ["p53"], "Drosophila melanogaster"),
        (["1", "2"], ["1", "2"], ""),
        ([], [], ""),
    ],
)
def test_species_of_genes(ids: list[str], symbols: list[str], species: str) -> None:
    assert guessed_species(np.array(ids, dtype=str), np.array(symbols, dtype=str)) == species
