"""Which columns of a table of counts are genes, of which genome, and what they are called: one answer for all.

A table may count other things beside genes (antibodies, guides, tags, control probes, spike-ins), genes of two
species, and names that are missing or that begin with the genome's. A total over all of it would be wrong, so
that it is settled before anything is added up.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.genes.names import ENSEMBL
from bleep_cli.types import I64, Bool, Str

GENE_TYPES = {"gene expression", "gene_expression", "gex", "gene", "genes", "rna", "mrna", "endogenous"}
OTHER_TYPES = re.compile(
    r"antibod|^protein$|protein expression|crispr|guide|multiplex|custom|peak|atac|^adt$|^hto$|hashtag|antigen|vdj"
    r"|control|codeword|blank|spike.?in|negative|deprecated|unassigned",
    re.IGNORECASE,
)
OTHER_NAMES = re.compile(
    r"""(
    blank([-_ ].*|\d*)                                    # MERSCOPE, older Xenium
    | neg(ative)?[-_ ]?(control|ctrl|prb|probe).*         # Xenium, CosMx, GeoMx
    | (negative|system|internal|genomic|positive)[-_ ]?(control|\d).*
    | (unassigned|deprecated)([-_ ]?(codeword|probe)?)([-_ ].*|\d*)
    | (false[-_ ]?code|intergenic[-_ ]|antisense[-_]).*
    | (hashtag|adt[-_]|hto[-_]).* | .*[-_]totalseq[-_]?[a-d]? | cmo3\d\d
    | ercc-\d{5}                                          # spike-ins
    | __(no_feature|ambiguous|too_low_aqual|not_aligned|alignment_not_unique)           # HTSeq's last lines
    | n_(unmapped|multimapping|nofeature|ambiguous)                                     # STAR's first ones
    )""",
    re.IGNORECASE | re.VERBOSE,
)
MISSING = {"", "nan", "na", "n/a", "<na>", "none", "null", "#n/a"}
"""What tables write, and libraries make, of a name that is not there; lower case."""
PREFIX = re.compile(
    r"(?P<genome>(?:GRC[a-z]\d+|(?:hg|mm|rn|danRer|susScr|galGal|canFam|rheMac|macFas|bosTau|dm|ce|sacCer)\d+"
    r"|T2T[-_]CHM13[-.\w]*?|CHM13[-.\w]*?|Rnor_\d[.\d]*|mRatBN\d[.\d]*|Mmul_\d+|Sscrofa[\d.]+)(?:[-.][-.\w]*?)?"
    r"|human|mouse|rat)_+(?=[^_])"
)
MOST_STRAY = 0.01
"""Of the genes, those of a further genome (a reporter, a virus) that may be there without making two species."""


@dataclass(frozen=True)
class Features:
    """The g columns of a table of counts, as its file names them."""

    ids: Str
    """str[g] ids, with their version where the file states one; the symbols where it states no ids."""
    symbols: Str
    """str[g] symbols, or whatever the file calls its genes; may repeat."""
    types: Str | None = None
    """str[g] what was measured, "Gene Expression" or another; None where the file does not say."""
    genomes: Str | None = None
    """str[g] names of their genomes; None where the file does not say."""


class Genes(NamedTuple):
    """The columns that are genes."""

    columns: I64
    """i64[k] which of the columns they are, in order"""
    ids: Str
    """str[k] ids without the genome's name; the symbol where an id is missing"""
    symbols: Str
    """str[k] symbols without the genome's name; the id where a symbol is missing"""
    findings: list[Finding]
    """What was left out or mended."""


def genes_of(features: Features, genome: str | None = None) -> Genes:
    """The genes among the columns of a table, of ``genome`` where it has several.

    Raises ``ReferenceError`` where no column is a gene, where the genes are of two genomes and none is picked, or
    of none that is called ``genome``.
    """
    findings: list[Finding] = []
    ids, symbols, prefixes = _bare(features.ids, features.symbols)
    reasons = _no_genes(ids, symbols, features.types)
    gene = reasons == ""
    if not gene.all():
        told = _counted(reasons[~gene])
        if not gene.any():
            raise ReferenceError(f"none of its {len(gene)} features is a gene ({told})")
        findings.append(Finding("features-no-genes", f"{int((~gene).sum())} features are no genes ({told})"))
    labels = prefixes if features.genomes is None else np.where(features.genomes == "", prefixes, features.genomes)
    kept = np.flatnonzero(gene)
    own, told_of = _of_genome(labels[kept], ids[kept], genome)
    kept = kept[own]
    findings += told_of
    if (prefixes[kept] != "").any():
        names = ", ".join(dict.fromkeys(prefixes[kept][prefixes[kept] != ""].tolist()))
        findings.append(Finding("genome-prefix", f"gene names began with {names}, which was taken off"))
    unnamed = np.array([is_missing(symbol) for symbol in symbols[kept]], dtype=bool) & (ids[kept] != symbols[kept])
    if unnamed.any():
        findings.append(Finding("symbols-missing", f"{int(unnamed.sum())} genes without a symbol carry their id"))
    return Genes(kept, ids[kept], np.where(unnamed, ids[kept], symbols[kept]), findings)


def without_genome(names: Str) -> Str:
    """str[g] names without the genome's that they begin with."""
    return np.array(
        [PREFIX.sub("", name, count=1) if PREFIX.match(name) else name for name in names.tolist()], dtype=str
    )


def is_missing(name: str) -> bool:
    """Whether a name is what tables write, and libraries make, of one that is not there."""
    return name.strip().lower() in MISSING


def _bare(ids: Str, symbols: Str) -> tuple[Str, Str, Str]:
    """(ids, symbols, name of the genome that they began with or ""), str[g] each; an id that is missing is the
    symbol."""
    ids = np.array(
        [s if is_missing(i) else i for i, s in zip(ids.tolist(), symbols.tolist(), strict=True)], dtype=str
    )
    found = [[PREFIX.match(name) for name in names.tolist()] for names in (ids, symbols)]
    bare = [
        np.array(
            [name[m.end() :] if m else name for name, m in zip(names.tolist(), matches, strict=True)], dtype=str
        )
        for names, matches in zip((ids, symbols), found, strict=True)
    ]
    first = [a or b for a, b in zip(*found, strict=True)]
    return bare[0], bare[1], np.array([m.group("genome") if m else "" for m in first], dtype=str)


def _no_genes(ids: Str, symbols: Str, types: Str | None) -> Str:
    """str[g]: why a column is no gene, a word or two; "" where it is one."""
    stated = types if types is not None else np.full(len(ids), "", dtype=str)
    listed = any(t.lower() in GENE_TYPES for t in stated.tolist())

    def why(gene_id: str, symbol: str, kind: str) -> str:
        if kind and not is_missing(kind):
            known = kind.lower() in GENE_TYPES
            if not known and (listed or OTHER_TYPES.search(kind)):
                return kind
        if not gene_id.strip():
            return "without a name"
        other = next((name for name in (symbol, gene_id) if OTHER_NAMES.fullmatch(name)), None)
        word = re.match(r"_*[A-Za-z]+", other) if other else None
        return word.group().strip("_") if word else ""

    return np.array(
        [why(*row) for row in zip(ids.tolist(), symbols.tolist(), stated.tolist(), strict=True)], dtype=str
    )


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in Counter(map(str, words)).most_common(6))


def _of_genome(labels: Str, ids: Str, genome: str | None) -> tuple[Bool, list[Finding]]:
    """(bool[g] the genes that are taken, what to say of the others)."""
    if len(set(labels.tolist()) - {""}) < 2:
        species = _species(ids)
        labels = species if len(_many(species)) > 1 else labels
    there = _many(labels)
    if genome is None:
        if len(there) > 1:
            raise ReferenceError(
                f'its genes are of {len(there)} genomes, {", ".join(there)}; pick one with genome = "{there[0]}"'
            )
        return np.ones(len(labels), dtype=bool), []
    known = list(dict.fromkeys(labels[labels != ""].tolist()))
    same = next((label for label in known if label.lower() == genome.lower()), None)
    if same is None:
        has = f"it has {', '.join(known)}" if known else "its genes do not say of which genome they are"
        raise ReferenceError(f"no gene is of genome {genome}; {has}")
    own = (labels == same) | (labels == "")
    left = int((~own).sum())
    told = [Finding("genome-picked", f"{left} genes of other genomes than {same} were left out")] if left else []
    return own, told


def _species(ids: Str) -> Str:
    """str[g] the letters of Ensembl ids, ENSG for human and ENSMUSG for mouse; "" for other ids."""
    found = [ENSEMBL.match(gene) for gene in ids.tolist()]
    return np.array([m.group(1).rstrip("0123456789") if m else "" for m in found], dtype=str)


def _many(labels: Str) -> list[str]:
    """The labels that are more than strays, in order of their first gene."""
    times = Counter(labels[labels != ""].tolist())
    return [label for label, n in times.items() if n > MOST_STRAY * len(labels)]
