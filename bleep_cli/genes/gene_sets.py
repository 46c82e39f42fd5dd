"""Gene sets: GMT files, and the score of a set."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path

import numpy as np

from bleep_cli.base.files.text_table import read_text
from bleep_cli.base.reasons import reason
from bleep_cli.errors import UsageError, option
from bleep_cli.genes.names import strip_version
from bleep_cli.types import F64, I64


class GenesOfSets(tuple[str, ...]):
    """Genes of all sets of a file, each once: those are taken that there are; a list has to be there whole."""


def genes_of_sets(path: Path) -> GenesOfSets:
    """The genes of a GMT file that is given in place of a list of genes; raises as :func:`read_gmt` does."""
    sets = read_gmt(path, "genes")
    return GenesOfSets(dict.fromkeys(gene for genes in sets.values() for gene in genes))


def known_of(genes: Sequence[str], known: Container[str], where: str) -> Sequence[str]:
    """Of genes of sets those that are ``known``, a list of genes as it is; ``UsageError`` for sets of which
    ``where`` has none."""
    if not isinstance(genes, GenesOfSets):
        return genes
    there = [gene for gene in genes if gene in known or strip_version(gene) in known]
    if not there:
        raise UsageError(f"{option('genes')}: of the {len(genes):,} genes of the sets {where} has none")
    return there


def read_gmt(path: Path, asked: str = "sets") -> Mapping[str, tuple[str, ...]]:
    """Sets by name from a GMT file: a line each, name, description and genes, separated by tabs.

    A gene that stands in a set twice counts once. ``UsageError`` of the parameter ``asked`` for what is no such
    file, all lines at once.
    """
    try:
        text, _ = read_text(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{option(asked)} {path.name} cannot be read ({reason(error)})") from error
    sets: dict[str, tuple[str, ...]] = {}
    faults = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = tuple(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            faults.append(
                f"{path.name}, line {number}: a set is a name, a description and genes, with tabs between"
            )
        elif name in sets:
            faults.append(f"{path.name}, line {number}: {name} stands in it twice")
        sets[name] = genes
    if faults or not sets:
        raise UsageError("\n".join(faults) or f"{option(asked)} {path.name} holds no set")
    return sets


def set_columns(genes: Sequence[str], slots: Mapping[str, int]) -> I64:
    """Columns i64[m] of the genes of a set that there are, by any name in ``slots``, each once."""
    return np.array(list(dict.fromkeys(slots[gene] for gene in genes if gene in slots)), np.int64)


def mean_z(values: F64, mean: F64, deviation: F64, columns: I64) -> F64:
    """Score f64[n] of a set: the mean over its genes of (value - mean) / deviation; values are f64[n, g].

    Genes that do not vary have no part; the score is 0 where none does. Linear in the values: the score of a mean
    over tiles is the mean of the tiles' scores.
    """
    varying = columns[deviation[columns] > 0]
    if not len(varying):
        return np.zeros(len(values))
    scores = (values[:, varying] - mean[varying]) / deviation[varying]
    return np.asarray(scores.mean(axis=1), np.float64)
