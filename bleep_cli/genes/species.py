"""Which species genes are of, by their ids or by how their symbols are written."""

from __future__ import annotations

from collections import Counter

from bleep_cli.types import Str

BY_PREFIX = {
    "ENSG": "Homo sapiens",
    "ENSMUSG": "Mus musculus",
    "ENSRNOG": "Rattus norvegicus",
    "ENSMMUG": "Macaca mulatta",
    "ENSSSCG": "Sus scrofa",
    "ENSGALG": "Gallus gallus",
    "ENSDARG": "Danio rerio",
    "FBgn": "Drosophila melanogaster",
}
TAXON = {
    "Homo sapiens": "NCBITaxon:9606",
    "Mus musculus": "NCBITaxon:10090",
    "Rattus norvegicus": "NCBITaxon:10116",
    "Macaca mulatta": "NCBITaxon:9544",
    "Sus scrofa": "NCBITaxon:9823",
    "Danio rerio": "NCBITaxon:7955",
}
"""Those of them that the CELLxGENE schema knows, in the NCBI's taxonomy."""
HUMAN, MOUSE_OR_RAT = "Homo sapiens", "Mus musculus or Rattus norvegicus"
MOST = 0.7  # of the names, to decide


def guessed_species(gene_ids: Str, symbols: Str) -> str:
    """Of ids str[g] by their prefix, else of symbols str[g] by their case; empty where neither tells.

    Human symbols are written in capitals, those of rodents with one.
    """
    prefixes = Counter(str(gene).rstrip("0123456789") for gene in gene_ids)
    prefix, times = prefixes.most_common(1)[0] if prefixes else ("", 0)
    if prefix in BY_PREFIX and times > MOST * len(gene_ids):
        return BY_PREFIX[prefix]
    words = [name for name in map(str, symbols) if sum(map(str.isalpha, name)) > 1]
    capitals = sum(name == name.upper() for name in words)
    one_capital = sum(name[0].isupper() and name[1:] == name[1:].lower() for name in words)
    if not words or max(capitals, one_capital) < MOST * len(words):
        return ""
    return HUMAN if capitals > one_capital else MOUSE_OR_RAT
